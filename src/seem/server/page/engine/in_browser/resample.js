/** Resizing as Pillow does it: separable filters that grow with the step where a picture shrinks. */

/**
 * @typedef {object} Plane  one number for each pixel, row by row
 * @property {number} height
 * @property {number} width
 * @property {Float32Array} data
 *
 * @typedef {{support: number, weigh: (distance: number) => number}} Filter
 */

const CUBIC = -0.5; // the parameter of Keys' cubic convolution

/** @type {Filter} */
export const BILINEAR = { support: 1, weigh: (distance) => Math.max(1 - Math.abs(distance), 0) };

/** @type {Filter} */
export const BICUBIC = {
  support: 2,
  weigh: (distance) => {
    const x = Math.abs(distance);
    if (x < 1) return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * CUBIC;
    return 0;
  },
};

/**
 * @typedef {{first: number, weights: Float64Array}} Taps  the source pixels of a target pixel
 *
 * @param {number} source
 * @param {number} target
 * @param {Filter} filter
 * @returns {Taps[]}
 */
function tapsOf(source, target, { support, weigh }) {
  const step = source / target;
  const stretch = Math.max(step, 1);
  const reach = support * stretch;
  return Array.from({ length: target }, (_, i) => {
    const centre = (i + 0.5) * step;
    const first = Math.max(Math.floor(centre - reach + 0.5), 0);
    const end = Math.min(Math.floor(centre + reach + 0.5), source);
    const weights = Float64Array.from({ length: end - first }, (_, k) =>
      weigh((first + k - centre + 0.5) / stretch),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/**
 * @param {Plane} plane
 * @param {number} width
 * @param {Filter} filter
 * @returns {Plane}
 */
function resizeRows({ height, width: sourceWidth, data }, width, filter) {
  const resized = new Float32Array(height * width);
  const taps = tapsOf(sourceWidth, width, filter);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const { first, weights } = taps[column];
      const start = row * sourceWidth + first;
      let sum = 0;
      for (let k = 0; k < weights.length; k += 1) sum += weights[k] * data[start + k];
      resized[row * width + column] = sum;
    }
  }
  return { height, width, data: resized };
}

/**
 * @param {Plane} plane
 * @param {number} height
 * @param {Filter} filter
 * @returns {Plane}
 */
function resizeColumns({ height: sourceHeight, width, data }, height, filter) {
  const resized = new Float32Array(height * width);
  tapsOf(sourceHeight, height, filter).forEach(({ first, weights }, row) => {
    const target = resized.subarray(row * width, (row + 1) * width);
    for (let k = 0; k < weights.length; k += 1) {
      const weight = weights[k];
      const start = (first + k) * width;
      for (let column = 0; column < width; column += 1) target[column] += weight * data[start + column];
    }
  });
  return { height, width, data: resized };
}

/**
 * Resize a plane to [height, width].
 * @param {Plane} plane
 * @param {[number, number]} size
 * @param {Filter} filter
 * @returns {Plane}
 */
export function resize(plane, [height, width], filter) {
  const rows = plane.width === width ? plane : resizeRows(plane, width, filter);
  return rows.height === height ? rows : resizeColumns(rows, height, filter);
}

/**
 * Resize one channel of a picture, which is rounded to whole numbers from 0 to 255 after either direction.
 * @param {Plane} plane
 * @param {[number, number]} size
 * @returns {Plane}
 */
export function resizeChannel(plane, [height, width]) {
  const rows = toBytes(resize(plane, [plane.height, width], BICUBIC));
  return toBytes(resize(rows, [height, width], BICUBIC));
}

/** @param {Plane} plane */
function toBytes({ height, width, data }) {
  const bytes = Uint8ClampedArray.from(data, (value) => Math.floor(value + 0.5));
  return { height, width, data: Float32Array.from(bytes) };
}

/**
 * Return the upper left part of a plane.
 * @param {Plane} plane
 * @param {[number, number]} size
 * @returns {Plane}
 */
export function crop(plane, [height, width]) {
  if (plane.height === height && plane.width === width) return plane;
  const data = new Float32Array(height * width);
  for (let row = 0; row < height; row += 1) {
    data.set(plane.data.subarray(row * plane.width, row * plane.width + width), row * width);
  }
  return { height, width, data };
}
