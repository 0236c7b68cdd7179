/** The objects of a photo as an immutable value, and what can be done to them. */

/** @import {PhotoDocument, PhotoObject, Rle} from "../types.js" */

/** @typedef {Omit<PhotoObject, "id" | "color">} NewObject */

/** @type {PhotoDocument} */
export const EMPTY_DOCUMENT = { objects: [], nextId: 1 };

/**
 * Find an object.
 * @param {PhotoDocument} document
 * @param {number} id
 * @returns {PhotoObject | undefined}
 */
export function findObject(document, id) {
  return document.objects.find((object) => object.id === id);
}

/**
 * Accept proposals: from now on they are objects like those that a person has drawn.
 * @param {PhotoDocument} document
 * @param {number[]} ids
 * @returns {PhotoDocument}
 */
export function acceptObjects(document, ids) {
  const isAccepted = (/** @type {PhotoObject} */ { id, proposed }) => proposed && ids.includes(id);
  if (!document.objects.some(isAccepted)) return document;
  const objects = document.objects.map((object) =>
    isAccepted(object) ? { ...object, proposed: false, source: "accepted" } : object,
  );
  return { ...document, objects };
}

/**
 * Add objects; those that an earlier question of the same source gave are replaced.
 * @param {PhotoDocument} document
 * @param {NewObject[]} added
 * @param {string | null} replacedSource
 * @returns {PhotoDocument}
 */
export function addObjects(document, added, replacedSource = null) {
  const remaining = document.objects.filter((object) => object.source !== replacedSource);
  const numbered = added.map((object, i) => {
    const id = document.nextId + i;
    return { ...object, id, color: id - 1 };
  });
  return { objects: [...remaining, ...numbered], nextId: document.nextId + added.length };
}

/**
 * Change some fields of an object; an unknown id changes nothing. A proposal whose source changes is one no longer.
 * @param {PhotoDocument} document
 * @param {number} id
 * @param {Partial<PhotoObject>} changes
 * @returns {PhotoDocument}
 */
export function changeObject(document, id, changes) {
  if (!findObject(document, id)) return document;
  const decided = "source" in changes ? { proposed: false } : {};
  const objects = document.objects.map((object) =>
    object.id === id ? { ...object, ...changes, ...decided } : object,
  );
  return { ...document, objects };
}

/**
 * Show or hide all objects.
 * @param {PhotoDocument} document
 * @param {boolean} visible
 * @returns {PhotoDocument}
 */
export function showAll(document, visible) {
  return { ...document, objects: document.objects.map((object) => ({ ...object, visible })) };
}

/**
 * @param {PhotoDocument} document
 * @param {number[]} ids
 * @returns {PhotoDocument}
 */
export function removeObjects(document, ids) {
  const objects = document.objects.filter((object) => !ids.includes(object.id));
  return objects.length === document.objects.length ? document : { ...document, objects };
}

/**
 * Turn several objects into one with the given mask; the first one's name and colour stay.
 * @param {PhotoDocument} document
 * @param {number[]} ids
 * @param {Rle} mask
 * @returns {PhotoDocument}
 */
export function mergeObjects(document, ids, mask) {
  const [first, ...others] = ids;
  const merged = changeObject(document, first, { mask, prompts: [], erased: [], source: "edited" });
  return removeObjects(merged, others);
}

/**
 * Say how many objects there are.
 * @param {number} count
 */
export function countedObjects(count) {
  return count === 1 ? "1 object" : `${count} objects`;
}

const MERGED = /(-other)?-(merged|stuff)$/; // how COCO marks names that stand for several

/**
 * Return what an object is called.
 * @param {PhotoObject} object
 */
export function nameOf({ id, label, source }) {
  if (label === null) return `Object ${id}`;
  return source === "edited" ? label : label.replace(MERGED, "");
}
