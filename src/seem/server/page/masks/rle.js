/** COCO's compressed run-length code, to bitmaps and back. Runs go down the columns, as in pycocotools. */

/** @import {Bitmap, Rle} from "../types.js" */

const CHARACTER_OFFSET = 48;
const VALUE_BITS = 0x1f;
const SIGN_BIT = 0x10;
const MORE_BIT = 0x20;

/**
 * Parse the text of a code into the lengths of its runs, outside first.
 * @param {string} text
 * @returns {number[]}
 */
export function parseCounts(text) {
  const counts = [];
  let position = 0;
  while (position < text.length) {
    let value = 0;
    let shift = 0;
    let bits;
    do {
      bits = text.charCodeAt(position) - CHARACTER_OFFSET;
      value |= (bits & VALUE_BITS) << shift;
      shift += 5;
      position += 1;
    } while (bits & MORE_BIT);
    if (bits & SIGN_BIT) value |= -1 << shift;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
  }
  return counts;
}

/**
 * Format the lengths of runs as text.
 * @param {number[]} counts
 * @returns {string}
 */
export function formatCounts(counts) {
  return counts.map((count, i) => formatNumber(i > 2 ? count - counts[i - 2] : count)).join("");
}

/**
 * @param {number} value
 * @returns {string}
 */
function formatNumber(value) {
  let text = "";
  let rest = value;
  for (;;) {
    const bits = rest & VALUE_BITS;
    rest >>= 5;
    const isLast = bits & SIGN_BIT ? rest === -1 : rest === 0;
    text += String.fromCharCode(bits + (isLast ? 0 : MORE_BIT) + CHARACTER_OFFSET);
    if (isLast) return text;
  }
}

/**
 * Return the runs inside a mask as [start, end) in column order.
 * @param {Rle} rle
 * @returns {[number, number][]}
 */
function insideRuns(rle) {
  /** @type {[number, number][]} */
  const runs = [];
  let position = 0;
  parseCounts(rle.counts).forEach((count, i) => {
    if (i % 2 === 1 && count > 0) runs.push([position, position + count]);
    position += count;
  });
  return runs;
}

/**
 * Decode a mask; an empty one has a bitmap without pixels.
 * @param {Rle} rle
 * @returns {Bitmap}
 */
export function decodeMask(rle) {
  const imageHeight = rle.size[0];
  const runs = insideRuns(rle);
  const box = boxOfRuns(runs, imageHeight);
  const data = new Uint8Array(box.width * box.height);
  for (const [start, end] of runs) {
    for (let i = start; i < end; i += 1) {
      const column = Math.floor(i / imageHeight);
      data[(i - column * imageHeight - box.y) * box.width + column - box.x] = 1;
    }
  }
  return { ...box, data };
}

/**
 * @param {[number, number][]} runs
 * @param {number} imageHeight
 */
function boxOfRuns(runs, imageHeight) {
  if (runs.length === 0) return { x: 0, y: 0, width: 0, height: 0 };
  const left = Math.floor(runs[0][0] / imageHeight);
  const right = Math.floor((runs[runs.length - 1][1] - 1) / imageHeight);
  let top = imageHeight;
  let bottom = 0;
  for (const [start, end] of runs) {
    const startsIn = Math.floor(start / imageHeight);
    const endsIn = Math.floor((end - 1) / imageHeight);
    const spansColumns = endsIn > startsIn;
    top = Math.min(top, spansColumns ? 0 : start - startsIn * imageHeight);
    bottom = Math.max(bottom, spansColumns ? imageHeight : end - endsIn * imageHeight);
  }
  return { x: left, y: top, width: right - left + 1, height: bottom - top };
}

/**
 * Encode a bitmap as a mask of an image of `size` (height, width).
 * @param {Bitmap} bitmap
 * @param {[number, number]} size
 * @returns {Rle}
 */
export function encodeMask(bitmap, size) {
  const counts = [];
  let position = 0;
  for (const [start, end] of runsOfBitmap(bitmap, size[0])) {
    counts.push(start - position, end - start);
    position = end;
  }
  const rest = size[0] * size[1] - position;
  if (rest > 0) counts.push(rest);
  return { size, counts: formatCounts(counts) };
}

/**
 * @param {Bitmap} bitmap
 * @param {number} imageHeight
 * @returns {[number, number][]}
 */
function runsOfBitmap(bitmap, imageHeight) {
  /** @type {[number, number][]} */
  const runs = [];
  for (let column = 0; column < bitmap.width; column += 1) {
    for (let row = 0; row < bitmap.height; row += 1) {
      if (!bitmap.data[row * bitmap.width + column]) continue;
      const position = (bitmap.x + column) * imageHeight + bitmap.y + row;
      const last = runs[runs.length - 1];
      if (last && last[1] === position) last[1] += 1;
      else runs.push([position, position + 1]);
    }
  }
  return runs;
}
