/** Draws the photo, its masks, the marks and what is being drawn. */

/** @import {Bitmap, PhotoObject, Position, Prompt} from "../types.js" */
/** @import {Size, Viewport} from "./viewport.js" */

import { bitmapOf } from "../masks/bitmap.js";
import { outlinePath } from "../masks/outline.js";
import { nameOf } from "../state/document.js";
import { colorAt } from "../state/palette.js";
import { anchorOf } from "./anchor.js";
import { paintPrompt } from "./prompt_painter.js";
import { toCanvas } from "./viewport.js";

const FILL = { normal: 0.4, selected: 0.5, preview: 0.3, proposed: 0.22 };
const EDGE_SHADOW = "rgba(8, 10, 14, 0.75)";
const CHIP = { background: "rgba(14, 17, 22, 0.86)", text: "#ffffff", height: 24, font: 12.5 };
const SMOOTH_BELOW = 4; // from this scale on, pixels are shown as squares

/**
 * @typedef {object} Scene
 * @property {ImageBitmap | HTMLVideoElement | null} picture
 * @property {Size} size  of the photo
 * @property {PhotoObject[]} objects  visible ones
 * @property {number[]} selection
 * @property {Bitmap | null} preview
 * @property {(Prompt & {positive?: boolean})[]} marks
 * @property {Draft | null} draft
 * @property {Position | null} cursor
 *
 * @typedef {Prompt | {kind: "open-polygon", points: Position[]} | {kind: "eraser", points: Position[], width: number}}
 *   Draft
 */

/**
 * Draw everything.
 * @param {CanvasRenderingContext2D} context  scaled to CSS pixels
 * @param {Size} canvas
 * @param {Viewport} viewport
 * @param {Scene} scene
 */
export function paintScene(context, canvas, viewport, scene) {
  context.clearRect(0, 0, canvas.width, canvas.height);
  paintPicture(context, viewport, scene);
  const isSelected = (/** @type {PhotoObject} */ object) => scene.selection.includes(object.id);
  for (const object of scene.objects) {
    if (!isSelected(object)) paintObject(context, viewport, object, false);
  }
  for (const object of scene.objects) {
    if (isSelected(object)) paintObject(context, viewport, object, true);
  }
  if (scene.preview) paintPreview(context, viewport, scene.preview);
  paintChips(context, viewport, scene);
  for (const mark of scene.marks) paintPrompt(context, viewport, mark);
  if (scene.draft) paintPrompt(context, viewport, scene.draft);
  if (scene.cursor) paintCursor(context, viewport, scene.cursor);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {Scene} scene
 */
function paintPicture(context, viewport, { picture, size }) {
  if (!picture) return;
  context.save();
  context.imageSmoothingEnabled = viewport.scale < SMOOTH_BELOW;
  context.imageSmoothingQuality = "high";
  context.shadowColor = "rgba(0, 0, 0, 0.25)";
  context.shadowBlur = 24;
  context.shadowOffsetY = 4;
  const [width, height] = [size.width * viewport.scale, size.height * viewport.scale];
  context.drawImage(picture, viewport.x, viewport.y, width, height);
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {PhotoObject} object
 * @param {boolean} isSelected
 */
function paintObject(context, viewport, object, isSelected) {
  const color = colorAt(object.color).css;
  const path = outlinePath(bitmapOf(object.mask));
  inPhoto(context, viewport, () => {
    context.globalAlpha = fillOpacity(object, isSelected);
    context.fillStyle = color;
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
    if (isSelected) {
      strokePath(context, viewport, path, EDGE_SHADOW, 6);
      strokePath(context, viewport, path, "#ffffff", 4);
      strokePath(context, viewport, path, color, 1.5);
    } else {
      if (object.proposed) context.setLineDash([7 / viewport.scale, 5 / viewport.scale]);
      strokePath(context, viewport, path, EDGE_SHADOW, 3.5);
      strokePath(context, viewport, path, color, 1.75);
    }
  });
}

/**
 * Return how opaque an object is: proposals are fainter than what a person has accepted.
 * @param {PhotoObject} object
 * @param {boolean} isSelected
 */
function fillOpacity({ proposed }, isSelected) {
  if (isSelected) return FILL.selected;
  return proposed ? FILL.proposed : FILL.normal;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {Bitmap} preview
 */
function paintPreview(context, viewport, preview) {
  const path = outlinePath(preview);
  inPhoto(context, viewport, () => {
    context.globalAlpha = FILL.preview;
    context.fillStyle = "#ffffff";
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
    strokePath(context, viewport, path, EDGE_SHADOW, 3.5);
    context.setLineDash([6 / viewport.scale, 4 / viewport.scale]);
    strokePath(context, viewport, path, "#ffffff", 1.75);
  });
}

/**
 * Draw in the coordinates of the photo.
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {() => void} paint
 */
function inPhoto(context, viewport, paint) {
  context.save();
  context.translate(viewport.x, viewport.y);
  context.scale(viewport.scale, viewport.scale);
  context.lineJoin = "round";
  paint();
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {Path2D} path
 * @param {string} style
 * @param {number} width  on the screen
 */
function strokePath(context, viewport, path, style, width) {
  context.strokeStyle = style;
  context.lineWidth = width / viewport.scale;
  context.stroke(path);
}

/**
 * Write the names of objects, selected and large ones first, where they do not cover each other.
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {Scene} scene
 */
function paintChips(context, viewport, { objects, selection }) {
  const rank = (/** @type {PhotoObject} */ object) =>
    (selection.includes(object.id) ? 1e12 : 0) + bitmapOf(object.mask).data.length;
  const ranked = objects.filter((object) => object.label !== null).sort((a, b) => rank(b) - rank(a));
  /** @type {DOMRect[]} */
  const taken = [];
  context.save();
  context.font = `600 ${CHIP.font}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const object of ranked) {
    const rectangle = chipRectangle(context, viewport, object);
    if (taken.some((other) => overlaps(rectangle, other))) continue;
    taken.push(rectangle);
    paintChip(context, rectangle, object);
  }
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {PhotoObject} object
 */
function chipRectangle(context, viewport, object) {
  const [x, y] = toCanvas(viewport, ...anchorOf(bitmapOf(object.mask)));
  const width = context.measureText(nameOf(object)).width + 32;
  return new DOMRect(x - width / 2, y - CHIP.height / 2, width, CHIP.height);
}

/**
 * @param {DOMRect} a
 * @param {DOMRect} b
 */
function overlaps(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {DOMRect} rectangle
 * @param {PhotoObject} object
 */
function paintChip(context, { x, y, width, height }, object) {
  context.fillStyle = CHIP.background;
  context.beginPath();
  context.roundRect(x, y, width, height, height / 2);
  context.fill();
  context.fillStyle = colorAt(object.color).css;
  context.beginPath();
  context.arc(x + 13, y + height / 2, 4.5, 0, 2 * Math.PI);
  context.fill();
  context.strokeStyle = "rgba(255, 255, 255, 0.85)";
  context.lineWidth = 1;
  context.stroke();
  context.fillStyle = CHIP.text;
  context.fillText(nameOf(object), x + 23, y + height / 2 + 0.5);
}

/**
 * Draw the cursor that the keyboard moves.
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {Position} cursor
 */
function paintCursor(context, viewport, cursor) {
  const [x, y] = toCanvas(viewport, ...cursor);
  const path = new Path2D();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    path.moveTo(x + dx * 4, y + dy * 4);
    path.lineTo(x + dx * 14, y + dy * 14);
  }
  context.save();
  context.lineCap = "round";
  context.strokeStyle = EDGE_SHADOW;
  context.lineWidth = 5;
  context.stroke(path);
  context.strokeStyle = "#ffffff";
  context.lineWidth = 2;
  context.stroke(path);
  context.restore();
}
