/** Draws prompts: those an object was made from, and the one that is being drawn. */

/** @import {Position} from "../types.js" */
/** @import {Draft} from "./painter.js" */
/** @import {Viewport} from "./viewport.js" */

import { toCanvas } from "./viewport.js";

const POSITIVE = "#0072b2";
const NEGATIVE = "#d55e00";
const SHADOW = "rgba(8, 10, 14, 0.75)";
const POINT_RADIUS = 8;
const LINE_OPACITY = 0.75;

/**
 * Draw a prompt; phrases and references have no place in the photo.
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {Draft & {positive?: boolean}} prompt
 */
export function paintPrompt(context, viewport, prompt) {
  const color = prompt.positive === false ? NEGATIVE : POSITIVE;
  context.save();
  context.lineCap = "round";
  context.lineJoin = "round";
  switch (prompt.kind) {
    case "point":
      paintPoint(context, toCanvas(viewport, prompt.x + 0.5, prompt.y + 0.5), color, prompt.positive !== false);
      break;
    case "stroke":
      paintBrush(context, viewport, prompt.points, prompt.width, color);
      break;
    case "eraser":
      paintBrush(context, viewport, prompt.points, prompt.width, "#ffffff");
      break;
    case "scribble":
      for (const points of prompt.strokes) paintBrush(context, viewport, points, prompt.width, color);
      break;
    case "box":
      paintLine(context, boxPath(viewport, prompt));
      break;
    case "polygon":
      paintLine(context, linePath(viewport, prompt.points, 0, true));
      break;
    case "open-polygon":
      paintOpenPolygon(context, viewport, prompt.points);
      break;
  }
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Position} center
 * @param {string} color
 * @param {boolean} isPositive
 */
function paintPoint(context, [x, y], color, isPositive) {
  context.beginPath();
  context.arc(x, y, POINT_RADIUS, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.strokeStyle = SHADOW;
  context.lineWidth = 5;
  context.stroke();
  context.strokeStyle = "#ffffff";
  context.lineWidth = 2.5;
  context.fill();
  context.stroke();
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x - 3.5, y);
  context.lineTo(x + 3.5, y);
  if (isPositive) {
    context.moveTo(x, y - 3.5);
    context.lineTo(x, y + 3.5);
  }
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {Position[]} points
 * @param {number} width  in pixels of the photo
 * @param {string} color
 */
function paintBrush(context, viewport, points, width, color) {
  const path = linePath(viewport, points, 0.5, false);
  const screenWidth = Math.max(width * viewport.scale, 2);
  context.globalAlpha = LINE_OPACITY;
  context.strokeStyle = "#ffffff";
  context.lineWidth = screenWidth + 2;
  context.stroke(path);
  context.strokeStyle = color;
  context.lineWidth = screenWidth;
  context.stroke(path);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Path2D} path
 */
function paintLine(context, path) {
  context.strokeStyle = SHADOW;
  context.lineWidth = 4;
  context.stroke(path);
  context.strokeStyle = "#ffffff";
  context.lineWidth = 2;
  context.stroke(path);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Viewport} viewport
 * @param {Position[]} points
 */
function paintOpenPolygon(context, viewport, points) {
  paintLine(context, linePath(viewport, points, 0, false));
  points.slice(0, -1).forEach((point, i) => {
    const [x, y] = toCanvas(viewport, ...point);
    context.beginPath();
    context.arc(x, y, i === 0 ? 7 : 4.5, 0, 2 * Math.PI);
    context.fillStyle = i === 0 ? POSITIVE : "#ffffff";
    context.fill();
    context.strokeStyle = i === 0 ? "#ffffff" : SHADOW;
    context.lineWidth = 2;
    context.stroke();
  });
}

/**
 * @param {Viewport} viewport
 * @param {Position[]} points
 * @param {number} shift  to the point's place in its pixel
 * @param {boolean} isClosed
 */
function linePath(viewport, points, shift, isClosed) {
  const path = new Path2D();
  points.forEach(([x, y], i) => {
    const position = toCanvas(viewport, x + shift, y + shift);
    if (i === 0) path.moveTo(...position);
    path.lineTo(...position);
  });
  if (isClosed) path.closePath();
  return path;
}

/**
 * @param {Viewport} viewport
 * @param {{x0: number, y0: number, x1: number, y1: number}} box
 */
function boxPath(viewport, { x0, y0, x1, y1 }) {
  const [left, top] = toCanvas(viewport, x0, y0);
  const [right, bottom] = toCanvas(viewport, x1, y1);
  const path = new Path2D();
  path.rect(left, top, right - left, bottom - top);
  return path;
}
