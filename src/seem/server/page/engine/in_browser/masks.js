/** Masks of the size of a photo: their boxes, and maps in which they compete for pixels. */

/** @import {Bitmap} from "../../types.js" */
/** @import {Size} from "./frame.js" */
/** @import {Plane} from "./resample.js" */

import { cleanMap } from "./components.js";

const MIN_OWN_SHARE = 0.6; // of its mask that a region of a panoptic map must own
const SAME_OBJECT_IOU = 0.5; // above which two masks are one object

/** @param {number} value */
export function sigmoid(value) {
  return 1 / (1 + Math.exp(-value));
}

/**
 * Return the part of a mask inside its box.
 * @param {Uint8Array} mask
 * @param {Size} size
 * @returns {Bitmap}
 */
export function bitmapOfMask(mask, [height, width]) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let row = 0; row < height; row += 1) {
    const line = mask.subarray(row * width, (row + 1) * width);
    const first = line.indexOf(1);
    if (first < 0) continue;
    left = Math.min(left, first);
    right = Math.max(right, line.lastIndexOf(1) + 1);
    top = Math.min(top, row);
    bottom = row + 1;
  }
  if (right === 0) return { x: 0, y: 0, width: 0, height: 0, data: new Uint8Array(0) };
  const bitmap = { x: left, y: top, width: right - left, height: bottom - top };
  const data = new Uint8Array(bitmap.width * bitmap.height);
  for (let row = top; row < bottom; row += 1) {
    data.set(mask.subarray(row * width + left, row * width + right), (row - top) * bitmap.width);
  }
  return { ...bitmap, data };
}

/**
 * Return the indices of masks (1 inside) that differ from every one before them that stays; an empty one differs
 * from none, but for the first.
 * @param {Uint8Array[]} masks
 */
export function distinctMasks(masks) {
  /** @type {number[]} */
  const distinct = [];
  masks.forEach((mask, index) => {
    const isNew = mask.includes(1) && !distinct.some((other) => overlap(mask, masks[other]) > SAME_OBJECT_IOU);
    if (index === 0 || isNew) distinct.push(index);
  });
  return distinct;
}

/**
 * Return the IoU of two masks.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
function overlap(a, b) {
  let both = 0;
  let either = 0;
  a.forEach((value, i) => {
    both += value & b[i];
    either += value | b[i];
  });
  return both / Math.max(either, 1);
}

/**
 * @typedef {object} Competitor  a mask that claims pixels of a map, the best score first
 * @property {() => Plane} toPhoto  its logits
 * @property {number} score
 * @property {number} group  those of one group become one region; -1: none
 */

/**
 * Let masks compete for pixels; returns ids (0: none), and the index of the competitor of each id, from 1 on.
 * @param {Competitor[]} competitors
 * @param {Size} size
 * @returns {{ids: Int32Array, winners: number[]}}
 */
export function mergeMasks(competitors, size) {
  const { owners, isInside, areas } = claimPixels(competitors, size);
  const owned = competitors.map(() => ({ all: 0, inside: 0 }));
  owners.forEach((owner, i) => {
    owned[owner].all += 1;
    owned[owner].inside += isInside[i];
  });
  /** @type {number[]} */
  const winners = [];
  const idsOfGroups = new Map();
  const ids = competitors.map(({ group }, index) => {
    if (owned[index].inside === 0 || owned[index].all / areas[index] < MIN_OWN_SHARE) return 0;
    if (!idsOfGroups.has(group)) {
      winners.push(index);
      if (group < 0) return winners.length;
      idsOfGroups.set(group, winners.length);
    }
    return idsOfGroups.get(group);
  });
  const map = Int32Array.from(owners, (owner, i) => (isInside[i] ? ids[owner] : 0));
  return { ids: cleanMap(map, winners.length, size), winners };
}

/**
 * Give every pixel to the mask whose probability times score is the highest there.
 * @param {Competitor[]} competitors
 * @param {Size} size
 */
function claimPixels(competitors, [height, width]) {
  const best = new Float32Array(height * width).fill(-1);
  const owners = new Uint16Array(height * width);
  const isInside = new Uint8Array(height * width);
  const areas = competitors.map(({ toPhoto, score }, index) => {
    const { data } = toPhoto();
    let area = 0;
    for (let i = 0; i < data.length; i += 1) {
      const inside = data[i] >= 0 ? 1 : 0;
      area += inside;
      const claim = sigmoid(data[i]) * score;
      if (claim <= best[i]) continue;
      best[i] = claim;
      owners[i] = index;
      isInside[i] = inside;
    }
    return area;
  });
  return { owners, isInside, areas };
}
