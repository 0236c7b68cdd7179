/** What two tabs have done with one photo, put together so that neither loses anything. */

/** @import {PhotoDocument, PhotoObject} from "../types.js" */
/** @import {Work} from "./works.js" */

import { EMPTY_DOCUMENT } from "./document.js";
import { record } from "./history.js";

/**
 * @typedef {Pick<Work, "history" | "classes" | "video" | "references">} Contents  what changes while a photo is open
 *
 * @typedef {object} Shared  what the browser's storage held when this tab last read or wrote it
 * @property {PhotoDocument} document
 * @property {string | undefined} revision
 */

/** @type {Shared} */
export const NOTHING_SHARED = { document: EMPTY_DOCUMENT, revision: undefined };

/**
 * Merge what this tab has with what is stored, if another one has stored it; undo takes that back.
 * @param {Contents} mine
 * @param {Work | undefined} stored
 * @param {Shared} shared
 * @returns {Contents}
 */
export function mergeContents(mine, stored, shared) {
  if (!stored || stored.revision === shared.revision) return mine;
  const merged = mergeDocuments(mine.history.present, stored.history.present, shared.document);
  return {
    ...mine,
    history: record(mine.history, merged),
    references: { ...stored.references, ...mine.references },
  };
}

/**
 * Merge two documents that were made from the same one; returns `mine` itself where the other adds nothing.
 *
 * What only one of them changed is as it left it. Of an object that both changed, and of two new ones with one id, both
 * versions stay: the other's gets a new id.
 * @param {PhotoDocument} mine
 * @param {PhotoDocument} theirs
 * @param {PhotoDocument} base
 * @returns {PhotoDocument}
 */
export function mergeDocuments(mine, theirs, base) {
  const [inMine, inTheirs, inBase] = [mine, theirs, base].map(byId);
  /** @type {PhotoObject[]} */
  const objects = [];
  let nextId = Math.max(mine.nextId, theirs.nextId);
  for (const id of new Set([...inMine.keys(), ...inTheirs.keys()])) {
    const [first, second] = versionsOf(inMine.get(id), inTheirs.get(id), inBase.get(id));
    if (first) objects.push(first);
    if (second) {
      objects.push({ ...second, id: nextId });
      nextId += 1;
    }
  }
  const isUnchanged = objects.length === mine.objects.length && objects.every((each) => mine.objects.includes(each));
  return isUnchanged ? mine : { objects, nextId };
}

/**
 * Return the versions of an object that stay: none, one or two.
 * @param {PhotoObject | undefined} own
 * @param {PhotoObject | undefined} other
 * @param {PhotoObject | undefined} before
 * @returns {PhotoObject[]}
 */
function versionsOf(own, other, before) {
  if (isSame(own, other) || isSame(other, before)) return own ? [own] : [];
  if (isSame(own, before)) return other ? [other] : [];
  return [own, other].filter((each) => each !== undefined);
}

/**
 * @param {PhotoDocument} document
 * @returns {Map<number, PhotoObject>}
 */
function byId({ objects }) {
  return new Map(objects.map((object) => [object.id, object]));
}

/**
 * Tell whether two objects, or their absences, are equal: one of them comes out of the browser's storage.
 * @param {PhotoObject | undefined} one
 * @param {PhotoObject | undefined} other
 */
function isSame(one, other) {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
