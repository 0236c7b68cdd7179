/** Operations on the bitmaps of masks. */

/** @import {Bitmap, Position, Rle, StrokePrompt} from "../types.js" */

import { decodeMask } from "./rle.js";

/** @type {WeakMap<Rle, Bitmap>} */
const decoded = new WeakMap();

/**
 * Return the bitmap of a mask, decoded once.
 * @param {Rle} mask
 * @returns {Bitmap}
 */
export function bitmapOf(mask) {
  let bitmap = decoded.get(mask);
  if (!bitmap) {
    bitmap = decodeMask(mask);
    decoded.set(mask, bitmap);
  }
  return bitmap;
}

/**
 * Tell whether a position lies in a mask.
 * @param {Bitmap} bitmap
 * @param {number} x
 * @param {number} y
 */
export function isInside(bitmap, x, y) {
  const column = Math.floor(x) - bitmap.x;
  const row = Math.floor(y) - bitmap.y;
  if (column < 0 || row < 0 || column >= bitmap.width || row >= bitmap.height) return false;
  return bitmap.data[row * bitmap.width + column] === 1;
}

/**
 * Count the pixels of a mask.
 * @param {Bitmap} bitmap
 */
export function areaOf(bitmap) {
  let area = 0;
  for (const value of bitmap.data) area += value;
  return area;
}

/**
 * Return the union of masks.
 * @param {Bitmap[]} bitmaps
 * @returns {Bitmap}
 */
export function unionOf(bitmaps) {
  const filled = bitmaps.filter((bitmap) => bitmap.data.length > 0);
  if (filled.length === 0) return { x: 0, y: 0, width: 0, height: 0, data: new Uint8Array(0) };
  const x = Math.min(...filled.map((bitmap) => bitmap.x));
  const y = Math.min(...filled.map((bitmap) => bitmap.y));
  const width = Math.max(...filled.map((bitmap) => bitmap.x + bitmap.width)) - x;
  const height = Math.max(...filled.map((bitmap) => bitmap.y + bitmap.height)) - y;
  const union = { x, y, width, height, data: new Uint8Array(width * height) };
  for (const bitmap of filled) addInto(union, bitmap);
  return union;
}

/**
 * @param {Bitmap} target
 * @param {Bitmap} added
 */
function addInto(target, added) {
  for (let row = 0; row < added.height; row += 1) {
    const start = (added.y - target.y + row) * target.width + added.x - target.x;
    for (let column = 0; column < added.width; column += 1) {
      target.data[start + column] |= added.data[row * added.width + column];
    }
  }
}

/**
 * Return a mask without the pixels under strokes.
 * @param {Bitmap} bitmap
 * @param {StrokePrompt[]} strokes
 * @returns {Bitmap}
 */
export function eraseStrokes(bitmap, strokes) {
  if (strokes.length === 0) return bitmap;
  const left = { ...bitmap, data: bitmap.data.slice() };
  for (const stroke of strokes) {
    const last = stroke.points.length - 1;
    for (let i = 0; i < Math.max(last, 1); i += 1) {
      eraseSegment(left, stroke.points[i], stroke.points[Math.min(i + 1, last)], stroke.width / 2);
    }
  }
  return left;
}

/**
 * @param {Bitmap} bitmap
 * @param {Position} start
 * @param {Position} end
 * @param {number} radius
 */
function eraseSegment(bitmap, start, end, radius) {
  const top = clampTo(Math.min(start[1], end[1]) - radius - bitmap.y, bitmap.height);
  const bottom = clampTo(Math.max(start[1], end[1]) + radius + 1 - bitmap.y, bitmap.height);
  const left = clampTo(Math.min(start[0], end[0]) - radius - bitmap.x, bitmap.width);
  const right = clampTo(Math.max(start[0], end[0]) + radius + 1 - bitmap.x, bitmap.width);
  for (let row = top; row < bottom; row += 1) {
    for (let column = left; column < right; column += 1) {
      const pixel = /** @type {Position} */ ([bitmap.x + column, bitmap.y + row]);
      if (distanceToSegment(pixel, start, end) <= radius) bitmap.data[row * bitmap.width + column] = 0;
    }
  }
}

/**
 * @param {number} value
 * @param {number} length
 */
function clampTo(value, length) {
  return Math.min(Math.max(Math.floor(value), 0), length);
}

/**
 * Return the distance of a position from a line segment.
 * @param {Position} position
 * @param {Position} start
 * @param {Position} end
 */
export function distanceToSegment([x, y], [x0, y0], [x1, y1]) {
  const dx = x1 - x0;
  const dy = y1 - y0;
  const squaredLength = dx * dx + dy * dy;
  const along = squaredLength === 0 ? 0 : ((x - x0) * dx + (y - y0) * dy) / squaredLength;
  const t = Math.min(Math.max(along, 0), 1);
  return Math.hypot(x - x0 - t * dx, y - y0 - t * dy);
}
