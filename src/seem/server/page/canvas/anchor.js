/** Where the label of a mask is written. */

/** @import {Bitmap, Position} from "../types.js" */

/** @type {WeakMap<Bitmap, Position>} */
const anchors = new WeakMap();

/**
 * Return a position well inside a mask: the middle of the longest run of its middle row.
 * @param {Bitmap} bitmap
 * @returns {Position}
 */
export function anchorOf(bitmap) {
  let anchor = anchors.get(bitmap);
  if (!anchor) {
    anchor = findAnchor(bitmap);
    anchors.set(bitmap, anchor);
  }
  return anchor;
}

/**
 * @param {Bitmap} bitmap
 * @returns {Position}
 */
function findAnchor(bitmap) {
  const row = middleRow(bitmap);
  const { start, length } = longestRun(bitmap, row);
  return [bitmap.x + start + length / 2, bitmap.y + row + 0.5];
}

/**
 * Return the row that has half of the mask's pixels above it.
 * @param {Bitmap} bitmap
 */
function middleRow({ width, height, data }) {
  const above = new Float64Array(height + 1);
  for (let row = 0; row < height; row += 1) {
    let count = 0;
    for (let column = 0; column < width; column += 1) count += data[row * width + column];
    above[row + 1] = above[row] + count;
  }
  const middle = above.findIndex((count) => count >= above[height] / 2);
  return Math.max(middle - 1, 0);
}

/**
 * @param {Bitmap} bitmap
 * @param {number} row
 */
function longestRun({ width, data }, row) {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (let column = 0; column < width; column += 1) {
    length = data[row * width + column] ? length + 1 : 0;
    if (length > best.length) best = { start: column - length + 1, length };
  }
  return best;
}
