/** Maps of cells, each of which stands for a square of network pixels: means, dilation, bounds, clicks that are obeyed. */

/** @import {Position} from "../../types.js" */
/** @import {Frame, Size} from "./frame.js" */
/** @import {Plane} from "./resample.js" */

import { pixelAt } from "./frame.js";

export const OUTLINE_LOGIT = 3;
const BOUND_MARGIN = 0.1; // in roots of an area
const CORRECTION_RADIUS = 0.06; // the same
const CLICK_REACH = 0.05; // the same
const CLICK_MARGIN = 0.1; // logits
const MIN_SIGMA = 1; // cells
const MAX_SIGMA = 8;

/**
 * Return whether something is marked.
 * @param {Uint8Array} map
 */
export function isMarked(map) {
  return map.includes(1);
}

/**
 * Return the means of squares of `factor` x `factor` values.
 * @param {ArrayLike<number>} values
 * @param {Size} size
 * @param {number} factor
 * @returns {Plane}
 */
export function means(values, [height, width], factor) {
  const small = { height: height / factor, width: width / factor };
  const data = new Float32Array(small.height * small.width);
  for (let row = 0; row < height; row += 1) {
    const start = Math.floor(row / factor) * small.width;
    for (let column = 0; column < width; column += 1) {
      data[start + Math.floor(column / factor)] += values[row * width + column];
    }
  }
  return { ...small, data: data.map((sum) => sum / (factor * factor)) };
}

/**
 * Dilate marks by a square of `radius` roots of an area; returns cells of `cell` pixels.
 * @param {Uint8Array} marks
 * @param {Uint8Array} area
 * @param {Size} size  of both
 * @param {{radius: number, cell: number}} options
 */
function dilate(marks, area, size, { radius, cell }) {
  const pixels = area.reduce((sum, value) => sum + value, 0);
  const reach = roundHalfEven((radius / cell) * Math.sqrt(pixels));
  const cells = means(marks, size, cell);
  const inRows = spread(cells.data, cells.height, cells.width, 1, reach);
  return spread(inRows, cells.width, cells.height, cells.width, reach);
}

/** @param {number} value */
function roundHalfEven(value) {
  const floor = Math.floor(value);
  const isHalf = value - floor === 0.5;
  return isHalf ? floor + (floor % 2) : Math.round(value);
}

/**
 * Mark the neighbours of what is marked along lines, `step` apart in memory.
 * @param {ArrayLike<number>} cells
 * @param {number} lines
 * @param {number} length
 * @param {number} step
 * @param {number} reach
 */
function spread(cells, lines, length, step, reach) {
  const wide = new Uint8Array(cells.length);
  const lineStep = step === 1 ? length : 1;
  for (let line = 0; line < lines; line += 1) {
    for (let i = 0; i < length; i += 1) {
      if (!cells[line * lineStep + i * step]) continue;
      for (let k = Math.max(i - reach, 0); k <= Math.min(i + reach, length - 1); k += 1) {
        wide[line * lineStep + k * step] = 1;
      }
    }
  }
  return wide;
}

/**
 * @typedef {object} Marks  maps of an object, of the size of the padded frame
 * @property {Uint8Array} positive
 * @property {Uint8Array} negative
 * @property {Uint8Array} bounds
 */

/**
 * Turn outlines into marks and bounds, corrected by other marks, and into the logits of a first mask (stride 4).
 * @param {Marks} marks
 * @param {Uint8Array} outlines
 * @param {Frame} frame
 * @returns {{marks: Marks, previous: Float32Array | null}}
 */
export function applyOutlines(marks, outlines, { padded }) {
  if (!isMarked(outlines)) return { marks, previous: null };
  const options = { radius: CORRECTION_RADIUS, cell: 2 };
  const near = dilate(marks.negative, outlines, padded, options);
  const beside = dilate(marks.positive, outlines, padded, options);
  const inside = outlines.map((value, i) => (near[cellOf(i, padded[1], 2)] ? 0 : value));
  const previous = means(inside, padded, 4).data.map((share) => OUTLINE_LOGIT * (2 * share - 1));
  return {
    marks: {
      positive: marks.positive.map((value, i) => value | inside[i]),
      negative: marks.negative,
      bounds: marks.bounds.map((value, i) => value | outlines[i] | beside[cellOf(i, padded[1], 2)]),
    },
    previous,
  };
}

/**
 * Return the index of the cell that a value belongs to.
 * @param {number} index
 * @param {number} width
 * @param {number} factor
 */
function cellOf(index, width, factor) {
  const row = Math.floor(index / width);
  const column = index - row * width;
  return Math.floor(row / factor) * (width / factor) + Math.floor(column / factor);
}

/**
 * Put pixels outside that lie far beyond the bounds, unless a positive mark lies there too.
 * @param {Plane} logits  stride 2
 * @param {Marks} marks
 * @param {Frame} frame
 * @returns {Plane}
 */
export function clipToBounds(logits, { positive, bounds }, { padded }) {
  if (!isMarked(bounds)) return logits;
  const allowed = dilate(bounds, bounds, padded, { radius: BOUND_MARGIN, cell: 4 });
  const isBeyond = means(positive, padded, 4).data.some((share, i) => share > 0 && !allowed[i]);
  if (isBeyond) return logits;
  const data = logits.data.map((value, i) =>
    allowed[cellOf(i, logits.width, 2)] ? value : Math.min(value, -OUTLINE_LOGIT),
  );
  return { ...logits, data };
}

/**
 * Put clicked cells on the side of the mask that their clicks say, by a bump where they are not.
 * @param {Plane} logits  stride 2
 * @param {{position: Position, isPositive: boolean}[]} clicks
 * @param {Frame} frame
 * @returns {Plane}
 */
export function obeyClicks(logits, clicks, frame) {
  const area = logits.data.reduce((count, value) => count + Number(value > 0), 0);
  const sigma = Math.min(Math.max(CLICK_REACH * Math.sqrt(area), MIN_SIGMA), MAX_SIGMA);
  const stride = frame.padded[0] / logits.height;
  let obeyed = logits;
  for (const { position, isPositive } of [...clicks, ...clicks]) {
    const [column, row] = pixelAt(frame, position).map((value) => Math.floor(value / stride));
    obeyed = obeyClick(obeyed, { column, row, sign: isPositive ? 1 : -1 }, sigma);
  }
  return obeyed;
}

/**
 * @param {Plane} logits
 * @param {{column: number, row: number, sign: number}} click
 * @param {number} sigma
 * @returns {Plane}
 */
function obeyClick(logits, { column, row, sign }, sigma) {
  const { height, width, data } = logits;
  let lowest = Infinity;
  for (let y = Math.max(row - 1, 0); y < Math.min(row + 2, height); y += 1) {
    for (let x = Math.max(column - 1, 0); x < Math.min(column + 2, width); x += 1) {
      lowest = Math.min(lowest, sign * data[y * width + x]);
    }
  }
  if (lowest > 0) return logits;
  const gain = (CLICK_MARGIN - lowest) / Math.exp(-1 / sigma ** 2);
  const bent = data.map((value, i) => {
    const y = Math.floor(i / width);
    const x = i - y * width;
    const bump = Math.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma ** 2));
    return value + sign * gain * bump;
  });
  return { height, width, data: bent };
}
