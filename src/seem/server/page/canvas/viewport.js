/**
 * Where the photo lies on the canvas, as pure functions: a position p of the photo is drawn at p * scale + offset.
 *
 * @typedef {{scale: number, x: number, y: number}} Viewport
 * @typedef {{width: number, height: number}} Size
 * @typedef {{top: number, right: number, bottom: number, left: number}} Insets
 */

const MAX_SCALE = 40;
const MIN_VISIBLE = 60; // pixels of the photo's rectangle that panning leaves on the canvas

/**
 * Show the whole photo inside the insets.
 * @param {Size} photo
 * @param {Size} canvas
 * @param {Insets} insets
 * @returns {Viewport}
 */
export function fitViewport(photo, canvas, insets) {
  const width = Math.max(canvas.width - insets.left - insets.right, 1);
  const height = Math.max(canvas.height - insets.top - insets.bottom, 1);
  const scale = Math.min(width / photo.width, height / photo.height);
  return {
    scale,
    x: insets.left + (width - photo.width * scale) / 2,
    y: insets.top + (height - photo.height * scale) / 2,
  };
}

/**
 * Zoom by a factor; the photo stays where it is at (x, y) of the canvas.
 * @param {Viewport} viewport
 * @param {number} factor
 * @param {number} x
 * @param {number} y
 * @param {number} minScale
 * @returns {Viewport}
 */
export function zoomAt(viewport, factor, x, y, minScale) {
  const scale = Math.min(Math.max(viewport.scale * factor, minScale), MAX_SCALE);
  const ratio = scale / viewport.scale;
  return { scale, x: x - (x - viewport.x) * ratio, y: y - (y - viewport.y) * ratio };
}

/**
 * Move the photo; a part of it stays on the canvas.
 * @param {Viewport} viewport
 * @param {number} dx
 * @param {number} dy
 * @param {Size} photo
 * @param {Size} canvas
 * @returns {Viewport}
 */
export function panBy(viewport, dx, dy, photo, canvas) {
  return {
    scale: viewport.scale,
    x: limit(viewport.x + dx, photo.width * viewport.scale, canvas.width),
    y: limit(viewport.y + dy, photo.height * viewport.scale, canvas.height),
  };
}

/**
 * @param {number} offset
 * @param {number} length
 * @param {number} canvasLength
 */
function limit(offset, length, canvasLength) {
  return Math.min(Math.max(offset, MIN_VISIBLE - length), canvasLength - MIN_VISIBLE);
}

/**
 * @param {Viewport} viewport
 * @param {number} x
 * @param {number} y
 * @returns {[number, number]}
 */
export function toPhoto(viewport, x, y) {
  return [(x - viewport.x) / viewport.scale, (y - viewport.y) / viewport.scale];
}

/**
 * @param {Viewport} viewport
 * @param {number} x
 * @param {number} y
 * @returns {[number, number]}
 */
export function toCanvas(viewport, x, y) {
  return [x * viewport.scale + viewport.x, y * viewport.scale + viewport.y];
}
