/** Outlines of masks as paths, which stay sharp at every zoom. */

/** @import {Bitmap, Position} from "../types.js" */

/** Directions along the edges of pixels: right, down, left, up. The mask lies on the right-hand side. */
const STEPS = [
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, -1],
];
/** The pixel to the right of the edge that leaves a corner in each direction, relative to that corner. */
const RIGHT_PIXEL = [
  [0, 0],
  [-1, 0],
  [-1, -1],
  [0, -1],
];

/**
 * Trace the boundary of a mask: closed loops through the middles of its pixel edges, holes included.
 * @param {Bitmap} bitmap
 * @returns {Position[][]}
 */
export function traceOutline(bitmap) {
  const hasPixel = pixelTest(bitmap);
  const visited = new Uint8Array(bitmap.data.length); // upper edges; every loop has one that goes right
  const loops = [];
  for (let row = 0; row < bitmap.height; row += 1) {
    for (let column = 0; column < bitmap.width; column += 1) {
      const isUpperEdge = hasPixel(column, row) && !hasPixel(column, row - 1);
      if (isUpperEdge && !visited[row * bitmap.width + column]) {
        loops.push(followLoop(bitmap, hasPixel, visited, column, row));
      }
    }
  }
  return loops;
}

/**
 * @param {Bitmap} bitmap
 * @returns {(column: number, row: number) => boolean}
 */
function pixelTest({ width, height, data }) {
  return (column, row) =>
    column >= 0 && row >= 0 && column < width && row < height && data[row * width + column] === 1;
}

/**
 * @param {Bitmap} bitmap
 * @param {(column: number, row: number) => boolean} hasPixel
 * @param {Uint8Array} visited
 * @param {number} column
 * @param {number} row
 * @returns {Position[]}
 */
function followLoop(bitmap, hasPixel, visited, column, row) {
  /** @type {Position[]} */
  const loop = [];
  let x = column;
  let y = row;
  let direction = 0;
  let previous = -1;
  do {
    const [dx, dy] = STEPS[direction];
    if (direction === 0) visited[y * bitmap.width + x] = 1;
    const next = nextDirection(hasPixel, x + dx, y + dy, direction);
    const isStraight = previous === direction && next === direction;
    if (!isStraight) loop.push([bitmap.x + x + dx / 2, bitmap.y + y + dy / 2]);
    x += dx;
    y += dy;
    previous = direction;
    direction = next;
  } while (x !== column || y !== row || direction !== 0);
  return loop;
}

/**
 * Return where the boundary goes on at a corner: pixels that touch at a corner alone are kept apart.
 * @param {(column: number, row: number) => boolean} hasPixel
 * @param {number} x
 * @param {number} y
 * @param {number} direction
 */
function nextDirection(hasPixel, x, y, direction) {
  const [rightX, rightY] = RIGHT_PIXEL[direction];
  if (!hasPixel(x + rightX, y + rightY)) return (direction + 1) % 4;
  const left = (direction + 3) % 4;
  const [leftX, leftY] = RIGHT_PIXEL[left];
  return hasPixel(x + leftX, y + leftY) ? left : direction;
}

/** @type {WeakMap<Bitmap, Path2D>} */
const paths = new WeakMap();

/**
 * Return the outline of a mask as a path, traced once; fill it with the even-odd rule.
 * @param {Bitmap} bitmap
 * @returns {Path2D}
 */
export function outlinePath(bitmap) {
  let path = paths.get(bitmap);
  if (!path) {
    path = pathOf(traceOutline(bitmap));
    paths.set(bitmap, path);
  }
  return path;
}

/**
 * @param {Position[][]} loops
 * @returns {Path2D}
 */
function pathOf(loops) {
  const path = new Path2D();
  for (const loop of loops) {
    path.moveTo(...loop[0]);
    for (const position of loop.slice(1)) path.lineTo(...position);
    path.closePath();
  }
  return path;
}
