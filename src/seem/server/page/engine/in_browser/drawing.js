/**
 * Prompts, in pixels of the photo, to maps of network pixels (0 or 1, the size of the padded frame).
 *
 * A point (x, y) names a pixel, whose centre is half a pixel further; boxes and polygons run along the edges of pixels.
 */

/** @import {BoxPrompt, PointPrompt, Position, Rle} from "../../types.js" */
/** @import {Frame, Size} from "./frame.js" */

import { decodeMask } from "../../masks/rle.js";
import { EngineError } from "../engine_error.js";
import { pixelAt, scaleOf } from "./frame.js";

/**
 * Return a map with nothing in it.
 * @param {Frame} frame
 */
export function emptyMap({ padded: [height, width] }) {
  return new Uint8Array(height * width);
}

/** @param {string} what */
function outside(what) {
  return new EngineError("invalid-request", `${what} lies outside the photo.`);
}

/**
 * Mark the 3 x 3 network pixels around a pixel of the photo.
 * @param {Uint8Array} map
 * @param {Frame} frame
 * @param {PointPrompt} point
 */
export function drawPoint(map, frame, { x, y }) {
  const [height, width] = frame.photo;
  if (!(x >= -0.5 && x < width && y >= -0.5 && y < height)) throw outside("The point");
  const [column, row] = pixelAt(frame, [x, y]);
  const [rows, columns] = frame.network;
  const box = { left: column - 1, top: row - 1, right: column + 2, bottom: row + 2 };
  fillBox(map, frame, {
    left: Math.max(box.left, 0),
    top: Math.max(box.top, 0),
    right: Math.min(box.right, columns),
    bottom: Math.min(box.bottom, rows),
  });
}

/**
 * @param {Uint8Array} map
 * @param {Frame} frame
 * @param {{left: number, top: number, right: number, bottom: number}} box  network pixels, maxima exclusive
 */
function fillBox(map, frame, { left, top, right, bottom }) {
  const width = frame.padded[1];
  for (let row = top; row < bottom; row += 1) map.fill(1, row * width + left, row * width + right);
}

/**
 * Fill a box, maxima exclusive.
 * @param {Uint8Array} map
 * @param {Frame} frame
 * @param {BoxPrompt} box
 */
export function drawBox(map, frame, { x0, y0, x1, y1 }) {
  const [height, width] = frame.photo;
  const isInside = x0 < x1 && y0 < y1 && x0 < width && y0 < height && x1 > 0 && y1 > 0;
  if (!isInside) throw outside("The box");
  const [scaleX, scaleY] = scaleOf(frame);
  const [rows, columns] = frame.network;
  const [left, right] = covered(x0 * scaleX, x1 * scaleX, columns);
  const [top, bottom] = covered(y0 * scaleY, y1 * scaleY, rows);
  fillBox(map, frame, { left, top, right, bottom });
}

/**
 * Return the pixels [first, end) whose centres are in [low, high); where there are none, the one in the middle.
 * @param {number} low
 * @param {number} high
 * @param {number} size
 * @returns {[number, number]}
 */
function covered(low, high, size) {
  const start = Math.max(low, 0);
  const stop = Math.min(high, size);
  const first = Math.ceil(start - 0.5);
  const end = Math.ceil(stop - 0.5);
  if (end > first) return [first, end];
  const middle = Math.min(Math.trunc((start + stop) / 2), size - 1);
  return [middle, middle + 1];
}

/**
 * Mark the network pixels within half a width of a line; distances are measured in the photo.
 * @param {Uint8Array} map
 * @param {Frame} frame
 * @param {Position[]} points
 * @param {number} width  pixels of the photo
 */
export function drawStroke(map, frame, points, width) {
  const [scaleX, scaleY] = scaleOf(frame);
  const radius = Math.max(width, 1 / scaleX, 1 / scaleY) / 2;
  const line = points.map(([x, y]) => /** @type {Position} */ ([x + 0.5, y + 0.5]));
  let isVisible = false;
  line.forEach((start, i) => {
    const end = line[Math.min(i + 1, line.length - 1)];
    isVisible = drawSegment(map, frame, start, end, radius) || isVisible;
  });
  if (!isVisible) throw outside("The stroke");
}

/**
 * @param {Uint8Array} map
 * @param {Frame} frame
 * @param {Position} start
 * @param {Position} end
 * @param {number} radius
 * @returns {boolean}  whether any pixel was marked
 */
function drawSegment(map, frame, start, end, radius) {
  const [scaleX, scaleY] = scaleOf(frame);
  const [rows, columns] = frame.network;
  const [left, right] = span(start[0], end[0], radius, scaleX, columns);
  const [top, bottom] = span(start[1], end[1], radius, scaleY, rows);
  let isVisible = false;
  for (let row = top; row < bottom; row += 1) {
    for (let column = left; column < right; column += 1) {
      const centre = /** @type {Position} */ ([(column + 0.5) / scaleX, (row + 0.5) / scaleY]);
      if (squaredDistance(centre, start, end) > radius * radius + 1e-9) continue;
      map[row * frame.padded[1] + column] = 1;
      isVisible = true;
    }
  }
  return isVisible;
}

/**
 * Return the network pixels [first, end) near a segment along one axis.
 * @param {number} start
 * @param {number} end
 * @param {number} radius
 * @param {number} scale
 * @param {number} size
 * @returns {[number, number]}
 */
function span(start, end, radius, scale, size) {
  const low = Math.floor((Math.min(start, end) - radius) * scale);
  const high = Math.ceil((Math.max(start, end) + radius) * scale);
  return [Math.min(Math.max(low, 0), size), Math.min(Math.max(high, 0), size)];
}

/**
 * @param {Position} position
 * @param {Position} start
 * @param {Position} end
 */
function squaredDistance([x, y], [x0, y0], [x1, y1]) {
  const dx = x1 - x0;
  const dy = y1 - y0;
  const along = ((x - x0) * dx + (y - y0) * dy) / Math.max(dx * dx + dy * dy, 1e-18);
  const share = Math.min(Math.max(along, 0), 1);
  return (x - x0 - share * dx) ** 2 + (y - y0 - share * dy) ** 2;
}

/**
 * Fill a polygon by the even-odd rule; a pixel whose centre is on the outline is inside.
 * @param {Uint8Array} map
 * @param {Frame} frame
 * @param {Position[]} points
 */
export function drawPolygon(map, frame, points) {
  const [scaleX, scaleY] = scaleOf(frame);
  const corners = points.map(([x, y]) => /** @type {Position} */ ([x * scaleX, y * scaleY]));
  const [rows, columns] = frame.network;
  let isVisible = false;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      if (!isInPolygon([column + 0.5, row + 0.5], corners)) continue;
      map[row * frame.padded[1] + column] = 1;
      isVisible = true;
    }
  }
  if (!isVisible) throw outside("The outline");
}

/**
 * @param {Position} centre
 * @param {Position[]} corners
 */
function isInPolygon([x, y], corners) {
  let isOdd = false;
  for (let i = 0; i < corners.length; i += 1) {
    const [x0, y0] = corners[i];
    const [x1, y1] = corners[(i + 1) % corners.length];
    if (y0 <= y !== y1 <= y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) isOdd = !isOdd;
    if (squaredDistance([x, y], [x0, y0], [x1, y1]) < 1e-18) return true;
  }
  return isOdd;
}

/**
 * Sample a mask of the photo at the centres of network pixels: inside if any neighbour with weight is.
 * @param {Uint8Array} map
 * @param {Frame} frame
 * @param {Rle} rle
 */
export function drawMask(map, frame, rle) {
  const { x, y, width, height, data } = decodeMask(rle);
  if (data.length === 0) throw new EngineError("invalid-request", "The mask is empty.");
  const isInside = (/** @type {number} */ column, /** @type {number} */ row) =>
    column >= x && column < x + width && row >= y && row < y + height && data[(row - y) * width + column - x] === 1;
  const [rows, columns] = frame.network;
  const near = { rows: neighbours(frame.photo[0], rows), columns: neighbours(frame.photo[1], columns) };
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const isMarked = near.rows[row].some((photoRow) =>
        near.columns[column].some((photoColumn) => isInside(photoColumn, photoRow)),
      );
      if (isMarked) map[row * frame.padded[1] + column] = 1;
    }
  }
}

/**
 * Return for each target pixel the two source pixels between whose centres its own centre falls.
 * @param {number} source
 * @param {number} target
 * @returns {[number, number][]}
 */
function neighbours(source, target) {
  return Array.from({ length: target }, (_, i) => {
    const position = Math.min(Math.max((i + 0.5) * (source / target) - 0.5, 0), source - 1);
    return [Math.floor(position), Math.ceil(position)];
  });
}

/**
 * Return at most `limit` marked pixels, evenly spaced in reading order: (column / width, row / height) each.
 * @param {Uint8Array} map
 * @param {Size} size
 * @param {number} limit
 * @returns {Position[]}
 */
export function spacedPoints(map, [height, width], limit) {
  /** @type {number[]} */
  const marked = [];
  for (let i = 0; i < map.length; i += 1) if (map[i]) marked.push(i);
  const count = Math.min(limit, marked.length);
  return Array.from({ length: count }, (_, i) => {
    const pixel = marked[Math.floor((i * marked.length) / count)];
    const row = Math.floor(pixel / width);
    return [(pixel - row * width) / width, row / height];
  });
}
