/** The sizes of a photo and of what the network sees of it. */

/** @import {Position} from "../../types.js" */

/**
 * @typedef {[number, number]} Size  height and width
 *
 * @typedef {object} Frame
 * @property {Size} photo
 * @property {Size} network  the photo as the network sees it
 * @property {Size} padded  that with its padding, at the right and at the bottom
 *
 * @typedef {{short_side: number, long_side: number, multiple_of: number}} SizeRules
 */

/**
 * @param {Size} photo
 * @param {SizeRules} rules
 * @returns {Frame}
 */
export function frameOf(photo, rules) {
  const scale = Math.min(rules.short_side / Math.min(...photo), rules.long_side / Math.max(...photo));
  const network = photo.map((side) => Math.max(1, Math.floor(side * scale + 0.5)));
  const padded = network.map((side) => Math.ceil(side / rules.multiple_of) * rules.multiple_of);
  return { photo, network: /** @type {Size} */ (network), padded: /** @type {Size} */ (padded) };
}

/**
 * Return network pixels per pixel of the photo, along x and y.
 * @param {Frame} frame
 * @returns {Position}
 */
export function scaleOf({ photo, network }) {
  return [network[1] / photo[1], network[0] / photo[0]];
}

/**
 * Return the network pixel (column, row) of a pixel of the photo.
 * @param {Frame} frame
 * @param {Position} point
 * @returns {Position}
 */
export function pixelAt(frame, [x, y]) {
  const [scaleX, scaleY] = scaleOf(frame);
  const [rows, columns] = frame.network;
  return [
    Math.min(Math.max(Math.trunc((x + 0.5) * scaleX), 0), columns - 1),
    Math.min(Math.max(Math.trunc((y + 0.5) * scaleY), 0), rows - 1),
  ];
}

/**
 * Return how many rows and columns of maps at stride 4 show the photo, without padding.
 * @param {Frame} frame
 * @returns {Size}
 */
export function cellsOf({ network }) {
  return [Math.ceil(network[0] / 4), Math.ceil(network[1] / 4)];
}
