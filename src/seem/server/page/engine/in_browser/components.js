/** Connected components of masks (1 inside, row by row), and what is too small to count. */

/** @import {Size} from "./frame.js" */
/** @import {Plane} from "./resample.js" */

const MIN_OBJECT_RATIO = 0.1; // to the area of the largest component, below which a component is no object
const MIN_REGION_RATIO = 0.005; // the same, below which a component or a hole is noise

/**
 * @typedef {object} Components
 * @property {Int32Array} labels  the number of the component of every pixel, from 1; 0 outside
 * @property {number[]} areas  by number; that of 0 counts for nothing
 */

/**
 * Find the connected components of a mask.
 * @param {Uint8Array} mask
 * @param {Size} size
 * @param {boolean} corners  whether pixels that touch at a corner connect
 * @returns {Components}
 */
export function connectedComponents(mask, [height, width], corners) {
  const labels = new Int32Array(mask.length);
  const parents = [0];
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const i = row * width + column;
      if (!mask[i]) continue;
      let label = column > 0 ? labels[i - 1] : 0;
      if (row > 0) {
        const first = corners ? Math.max(column - 1, 0) : column;
        const last = corners ? Math.min(column + 1, width - 1) : column;
        for (let above = first; above <= last; above += 1) {
          label = joined(parents, label, labels[i - width + above - column]);
        }
      }
      if (!label) {
        label = parents.length;
        parents.push(label);
      }
      labels[i] = label;
    }
  }
  return numbered(labels, parents);
}

/**
 * Join two labels (0: none), and return the one that stands for both.
 * @param {number[]} parents
 * @param {number} a
 * @param {number} b
 */
function joined(parents, a, b) {
  if (!a || !b || a === b) return a || b;
  const first = rootOf(parents, a);
  const second = rootOf(parents, b);
  const root = Math.min(first, second);
  parents[first] = root;
  parents[second] = root;
  return root;
}

/**
 * @param {number[]} parents
 * @param {number} label
 */
function rootOf(parents, label) {
  let root = label;
  while (parents[root] !== root) root = parents[root];
  parents[label] = root;
  return root;
}

/**
 * Number components from 1 on, in the order of their first pixels.
 * @param {Int32Array} labels
 * @param {number[]} parents
 * @returns {Components}
 */
function numbered(labels, parents) {
  const areas = [0];
  const numbers = new Int32Array(parents.length);
  for (let i = 0; i < labels.length; i += 1) {
    if (!labels[i]) continue;
    const root = rootOf(parents, labels[i]);
    if (!numbers[root]) {
      numbers[root] = areas.length;
      areas.push(0);
    }
    labels[i] = numbers[root];
    areas[labels[i]] += 1;
  }
  return { labels, areas };
}

/**
 * Split a mask into its large components, the largest first; pixels of the others get the opposite logit.
 * @param {Plane} logits
 * @returns {Plane[]}
 */
export function splitComponents(logits) {
  const { height, width, data } = logits;
  const { labels, areas } = connectedComponents(insideOf(data), [height, width], true);
  const largest = Math.max(...areas);
  const numbers = areas.map((_, number) => number).slice(1);
  const large = numbers.filter((number) => areas[number] >= MIN_OBJECT_RATIO * largest);
  large.sort((a, b) => areas[b] - areas[a]);
  return large.map((number) => ({
    height,
    width,
    data: data.map((value, i) => (labels[i] === number || labels[i] === 0 ? value : -value)),
  }));
}

/**
 * Return 1 where logits are inside.
 * @param {Float32Array} logits
 */
export function insideOf(logits) {
  const inside = new Uint8Array(logits.length);
  for (let i = 0; i < logits.length; i += 1) if (logits[i] > 0) inside[i] = 1; // faster than Uint8Array.from
  return inside;
}

/**
 * Fill holes and remove components that are small beside the largest component.
 * @param {Uint8Array} mask
 * @param {Size} size
 */
export function cleanMask(mask, size) {
  const limit = Math.floor(MIN_REGION_RATIO * Math.max(...connectedComponents(mask, size, true).areas));
  if (limit <= 1) return mask;
  const holes = connectedComponents(mask.map((value) => 1 - value), size, false);
  const filled = mask.map((value, i) => (value || holes.areas[holes.labels[i]] < limit ? 1 : 0));
  const { labels, areas } = connectedComponents(filled, size, true);
  const largest = Math.max(...areas);
  return labels.reduce((cleaned, label, i) => {
    if (label && (areas[label] >= limit || areas[label] === largest)) cleaned[i] = 1;
    return cleaned;
  }, new Uint8Array(mask.length));
}

/**
 * Clean every region of a map of ids (0: none); none takes pixels from another.
 * @param {Int32Array} ids
 * @param {number} count
 * @param {Size} size
 */
export function cleanMap(ids, count, size) {
  const masks = Array.from({ length: count }, (_, i) =>
    cleanMask(Uint8Array.from(ids, (id) => Number(id === i + 1)), size),
  );
  const cleaned = ids.map((id, i) => (id && masks[id - 1][i] ? id : 0));
  masks.forEach((mask, index) => {
    for (let i = 0; i < mask.length; i += 1) if (mask[i] && !cleaned[i]) cleaned[i] = index + 1;
  });
  return cleaned;
}
