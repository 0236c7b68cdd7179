/** What a person takes away, made in the browser: pictures, masks and a label map. */

/** @import {PhotoObject} from "../types.js" */
/** @import {Photo} from "../state/app_state.js" */

import { bitmapOf, unionOf } from "../masks/bitmap.js";
import { outlinePath } from "../masks/outline.js";
import { nameOf } from "../state/document.js";
import { colorAt, rgbAt } from "../state/palette.js";
import { greyPng } from "./png_file.js";
import { zipFile } from "./zip_file.js";

const OVERLAY_OPACITY = 0.45;

/**
 * Return the photo with its masks drawn over it.
 * @param {Photo} photo
 * @param {PhotoObject[]} objects
 * @returns {Promise<Blob>}
 */
export function overlayPicture(photo, objects) {
  const { canvas, context } = canvasOf(photo);
  context.drawImage(photo.picture, 0, 0);
  context.lineJoin = "round";
  context.lineWidth = Math.max(photo.width, photo.height) / 400;
  for (const { mask, color } of objects) {
    const path = outlinePath(bitmapOf(mask));
    context.fillStyle = context.strokeStyle = colorAt(color).css;
    context.globalAlpha = OVERLAY_OPACITY;
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
    context.stroke(path);
  }
  return canvas.convertToBlob({ type: "image/png" });
}

/**
 * Return the objects alone, the rest transparent, cropped to them.
 * @param {Photo} photo
 * @param {PhotoObject[]} objects
 * @returns {Promise<Blob>}
 */
export function cutOutPicture(photo, objects) {
  const union = unionOf(objects.map(({ mask }) => bitmapOf(mask)));
  const canvas = new OffscreenCanvas(union.width, union.height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(photo.picture, -union.x, -union.y);
  const pixels = context.getImageData(0, 0, union.width, union.height);
  union.data.forEach((value, i) => {
    if (!value) pixels.data[4 * i + 3] = 0;
  });
  context.putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

/**
 * Return one black and white PNG file for each mask, in an archive.
 * @param {Photo} photo
 * @param {PhotoObject[]} objects
 */
export async function maskFiles(photo, objects) {
  const files = [];
  for (const object of objects) {
    const values = new Uint8Array(photo.width * photo.height);
    fillMask(values, photo.width, object, 255);
    const content = await greyPng(values, photo.width, photo.height);
    files.push({ name: `${String(object.id).padStart(3, "0")}_${fileName(nameOf(object))}.png`, content });
  }
  return zipFile(files);
}

/**
 * Return a PNG file whose grey values are the ids of objects (0: none; later objects lie on top), with a list of names.
 * @param {Photo} photo
 * @param {PhotoObject[]} objects
 */
export async function labelMap(photo, objects) {
  const largestId = Math.max(...objects.map(({ id }) => id));
  const length = photo.width * photo.height;
  const values = largestId < 256 ? new Uint8Array(length) : new Uint16Array(length);
  for (const object of objects) fillMask(values, photo.width, object, object.id);
  const labels = objects.map((object) => ({
    id: object.id,
    label: object.label,
    score: object.score,
    color: rgbAt(object.color),
  }));
  return zipFile([
    { name: "label_map.png", content: await greyPng(values, photo.width, photo.height) },
    { name: "labels.json", content: new TextEncoder().encode(JSON.stringify(labels, null, 2)) },
  ]);
}

/**
 * @param {Uint8Array | Uint16Array} values
 * @param {number} imageWidth
 * @param {PhotoObject} object
 * @param {number} value
 */
function fillMask(values, imageWidth, object, value) {
  const { x, y, width, data } = bitmapOf(object.mask);
  data.forEach((isInside, i) => {
    if (!isInside) return;
    const row = Math.floor(i / width);
    values[(y + row) * imageWidth + x + i - row * width] = value;
  });
}

/** @param {Photo} photo */
function canvasOf({ width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  return { canvas, context };
}

/**
 * Return a name without what file systems refuse.
 * @param {string} name
 */
export function fileName(name) {
  return name.replace(/[^\p{L}\p{N}_-]+/gu, "_").slice(0, 60) || "object";
}
