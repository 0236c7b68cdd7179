/** The worker of the engine in the browser: holds encoded photos, and answers one request after the other. */

/** @import {Prompt} from "../../types.js" */
/** @import {EncodedPhoto, ReferenceRegion} from "./encoded_photo.js" */
/** @import {FoundObject} from "./recognition.js" */
/** @import {Size} from "./frame.js" */

import { areaOf } from "../../masks/bitmap.js";
import { encodeMask } from "../../masks/rle.js";
import { EngineError } from "../engine_error.js";
import { Model } from "./model.js";
import { find, instances, panoptic } from "./recognition.js";

const FOLDER = new URL("../../model/", import.meta.url);
const MAX_PHOTOS = 6; // encoded ones: the one that was used longest ago leaves
const MAX_PIXELS = 80e6;

/**
 * @typedef {{id: number, method: string, values: any[]}} Request
 * @typedef {{id: number, answer?: any, problem?: {kind: string, message: string}, progress?: number}} Reply
 */

const scope = /** @type {any} */ (self);
/** @type {Map<string, EncodedPhoto>} */
const photos = new Map();
/** @type {Request[]} */
const waiting = [];
let isBusy = false;
/** @type {Promise<Model> | null} */
let loading = null;
let runningId = 0;

scope.onmessage = (/** @type {MessageEvent} */ { data }) => {
  if (data.cancel === undefined) waiting.push(data);
  else cancel(data.cancel);
  if (!isBusy) answerAll();
};

/** @param {number} id */
function cancel(id) {
  const index = waiting.findIndex((request) => request.id === id);
  if (index >= 0) waiting.splice(index, 1);
}

async function answerAll() {
  isBusy = true;
  for (let request = waiting.shift(); request; request = waiting.shift()) {
    runningId = request.id;
    scope.postMessage(await reply(request));
    await new Promise((resolve) => setTimeout(resolve)); // lets cancellations in
  }
  isBusy = false;
}

/**
 * @param {Request} request
 * @returns {Promise<Reply>}
 */
async function reply({ id, method, values }) {
  try {
    return { id, answer: await METHODS[method](...values) };
  } catch (error) {
    if (error instanceof EngineError) return { id, problem: { kind: error.kind, message: error.message } };
    console.error(error);
    return { id, problem: { kind: "internal", message: "The model could not answer; reload the page." } };
  }
}

function model() {
  const onProgress = (/** @type {number} */ progress) => scope.postMessage({ id: runningId, progress });
  loading ??= Model.load(FOLDER, onProgress);
  loading.catch(() => (loading = null));
  return loading;
}

/** @type {Record<string, (...values: any[]) => Promise<any>>} */
const METHODS = {
  async describe() {
    const { record } = await model();
    return { name: record.model, references: true };
  },

  /** Load the graphs that the first click needs. */
  async prepare() {
    const { graphs } = await model();
    await graphs.load("image");
    await graphs.load("prompts");
  },

  /**
   * @param {string} id
   * @param {Blob} file
   */
  async encode(id, file) {
    await METHODS.prepare();
    const picture = await readPicture(file);
    const photo = await (await model()).encode(picture);
    photos.set(id, photo);
    if (photos.size > MAX_PHOTOS) photos.delete(photos.keys().next().value ?? "");
    const [height, width] = photo.frame.photo;
    return { width, height };
  },

  /** @param {string} id */
  async hasImage(id) {
    return photos.has(id);
  },

  /**
   * @param {string} id
   * @param {{prompts: Prompt[], labels?: boolean}} question
   */
  async segment(id, { prompts, labels = false }) {
    const photo = photoOf(id);
    const { answer, notes } = await photo.segment(prompts, await referenceAmong(prompts));
    if (!answer) return { kind: "interactive", objects: [], notes };
    const phrases = prompts.flatMap((prompt) => (prompt.kind === "text" ? [prompt.phrase] : []));
    const label = phrases.join(", ") || (labels ? photo.label(answer.logits) : null);
    return answerOf("interactive", photo, [{ bitmap: photo.toBitmap(answer.logits), score: answer.score, label }], notes);
  },

  /**
   * @param {string} id
   * @param {{classes: string[] | null, threshold: number | null}} question
   */
  async panoptic(id, { classes, threshold }) {
    const vocabulary = await (await model()).vocabulary(classes);
    return answerOf("panoptic", photoOf(id), await panoptic(photoOf(id), vocabulary, threshold));
  },

  /**
   * @param {string} id
   * @param {{classes: string[] | null, threshold: number | null}} question
   */
  async instances(id, { classes, threshold }) {
    const vocabulary = await (await model()).vocabulary(classes);
    return answerOf("instances", photoOf(id), await instances(photoOf(id), vocabulary, threshold));
  },

  /**
   * @param {string} id
   * @param {{phrases: string[], threshold: number | null}} question
   */
  async find(id, { phrases, threshold }) {
    const { found, notes } = await find(photoOf(id), phrases, threshold);
    return answerOf("find", photoOf(id), found, notes);
  },
};

/** @param {string} id */
function photoOf(id) {
  const photo = photos.get(id);
  if (!photo) throw new EngineError("gone", "The photo has to be encoded again.");
  photos.delete(id); // puts it last, as the one that was used last
  photos.set(id, photo);
  return photo;
}

/**
 * @param {any[]} prompts  as the API takes them: a reference names an encoded image
 * @returns {Promise<ReferenceRegion | null>}
 */
async function referenceAmong(prompts) {
  const reference = prompts.find(({ kind }) => kind === "reference");
  return reference ? photoOf(reference.image_id).referenceRegion(reference.prompts) : null;
}

/**
 * @param {string} kind
 * @param {EncodedPhoto} photo
 * @param {(Omit<FoundObject, "label"> & {label: string | null})[]} found
 * @param {string[]} notes
 */
function answerOf(kind, photo, found, notes = []) {
  const objects = found.map(({ bitmap, score, label }) => ({
    box: [bitmap.x, bitmap.y, bitmap.x + bitmap.width, bitmap.y + bitmap.height],
    area: areaOf(bitmap),
    score,
    label,
    mask: encodeMask(bitmap, photo.frame.photo),
  }));
  return { kind, objects, notes };
}

/**
 * Decode a file into RGBA pixels, upright, on white where it is transparent.
 * @param {Blob} file
 */
async function readPicture(file) {
  let picture;
  try {
    picture = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new EngineError("unreadable", "This browser cannot read the picture; save it as JPEG or PNG.");
  }
  const { width, height } = picture;
  if (width * height > MAX_PIXELS) {
    throw new EngineError("too-many-pixels", `The picture has more than ${MAX_PIXELS / 1e6} million pixels; shrink it.`);
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new EngineError("unreadable", "This browser has no memory for a picture of this size.");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0);
  picture.close();
  return context.getImageData(0, 0, width, height);
}
