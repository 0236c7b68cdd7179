/** Everything that the page shows. */

/** @import {Bitmap, Intent, PhotoDocument, PhotoObject, Prompt, ToolName} from "../types.js" */
/** @import {History} from "./history.js" */
/** @import {Track, Video} from "../video_tracking.js" */

import { EMPTY_DOCUMENT, findObject } from "./document.js";
import { startHistory } from "./history.js";

/**
 * @typedef {object} Photo
 * @property {string} workId
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {ImageBitmap} picture
 *
 * @typedef {object} Reference  an object in another picture
 * @property {string} key  of `EncodedImages`
 * @property {string} name
 * @property {ImageBitmap} picture
 * @property {Prompt[]} prompts
 *
 * @typedef {object} Task  what the page waits for
 * @property {string} text
 * @property {number | null} fraction  0-1; null where nobody knows
 *
 * @typedef {object} AppState
 * @property {any} information  of the engine; null until it has answered
 * @property {Photo | null} photo
 * @property {History<PhotoDocument>} history
 * @property {number[]} selection  ids; the first one is what marks extend
 * @property {ToolName} tool
 * @property {Intent} intent
 * @property {number} brush  width on the screen, in CSS pixels
 * @property {Task | null} task
 * @property {Prompt[]} pending  marks that wait for an answer
 * @property {Bitmap | null} preview
 * @property {string[]} classes  a person's own
 * @property {boolean} usesClasses
 * @property {boolean} proposes  answers about the whole photo are proposals, which a person accepts
 * @property {number | null} threshold  of scores, 0-1; null: the model's own
 * @property {Reference | null} reference
 * @property {Video | null} video  whose first frame the photo is
 * @property {Track | null} track  its frames with the objects that were followed
 * @property {number} frame  which one of them is shown
 */

/** @type {AppState} */
export const INITIAL_STATE = {
  information: null,
  photo: null,
  history: startHistory(EMPTY_DOCUMENT),
  selection: [],
  tool: "click",
  intent: "new",
  brush: 14,
  task: null,
  pending: [],
  preview: null,
  classes: [],
  usesClasses: false,
  proposes: false,
  threshold: null,
  reference: null,
  video: null,
  track: null,
  frame: 0,
};

/**
 * @param {AppState} state
 * @returns {PhotoObject[]}
 */
export function objectsOf(state) {
  return state.history.present.objects;
}

/**
 * Return the selected objects that exist, in the order of their selection.
 * @param {AppState} state
 * @returns {PhotoObject[]}
 */
export function selectedObjects(state) {
  return state.selection.flatMap((id) => findObject(state.history.present, id) ?? []);
}
