/** A canvas that shows a photo and lets a tool draw on it, by pointer or by keyboard. */

/** @import {Position} from "../types.js" */
/** @import {Scene} from "./painter.js" */
/** @import {Insets, Size, Viewport} from "./viewport.js" */
/** @import {Tool} from "../tools/tools.js" */

import { Gestures } from "./gestures.js";
import { paintScene } from "./painter.js";
import { fitViewport, panBy, toCanvas, toPhoto, zoomAt } from "./viewport.js";

/**
 * @typedef {object} PhotoCanvasOptions
 * @property {() => Insets} insets  what lies over the edges of the canvas
 * @property {() => Omit<Scene, "draft" | "cursor">} scene
 * @property {() => Tool | null} tool  null: dragging pans
 * @property {(event: PointerEvent | KeyboardEvent) => void} beforeDown
 * @property {(position: Position | null) => void} hover
 */

const KEY_STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEY_STEP = 8; // CSS pixels; with Shift four times as far
const ZOOM_STEP = 1.4;
const MAX_DISTANCE = 24; // CSS pixels beside the photo where a line may begin

export class PhotoCanvas {
  #canvas;
  #context;
  #options;
  /** @type {Viewport} */
  #viewport = { scale: 1, x: 0, y: 0 };
  /** @type {Size} */
  #size = { width: 1, height: 1 };
  #isFitted = true;
  #isScheduled = false;
  #isSpaceDown = false;
  /** @type {Position | null} */
  #cursor = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {PhotoCanvasOptions} options
   */
  constructor(canvas, options) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.#options = options;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    new Gestures(canvas, {
      down: (position, event) => this.#down(position, event),
      move: (position) => this.#drawing((tool) => tool.move(this.#ontoPhoto(position))),
      up: (position) => this.#drawing((tool) => tool.up(this.#ontoPhoto(position))),
      cancel: () => this.#drawing((tool) => tool.cancel()),
      hover: (position) => this.#hover(position),
      pan: (dx, dy) => this.#pan(dx, dy),
      zoom: (factor, position) => this.#zoom(factor, position),
      pansByDragging: () => this.#isSpaceDown || options.tool() === null,
    });
    canvas.addEventListener("keydown", (event) => this.#keyDown(event));
    canvas.addEventListener("keyup", (event) => this.#setSpace(event, false));
    canvas.addEventListener("blur", () => this.#hideCursor());
  }

  /** Pixels on the screen for one of the photo. */
  get scale() {
    return this.#viewport.scale;
  }

  /** Draw soon; several calls are drawn once. */
  redraw() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      const scene = this.#options.scene();
      const draft = this.#options.tool()?.draft ?? null;
      const ratio = window.devicePixelRatio;
      this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
      paintScene(this.#context, this.#size, this.#viewport, { ...scene, draft, cursor: this.#cursor });
    });
  }

  /** Show the whole photo. */
  fit() {
    this.#isFitted = true;
    this.#viewport = fitViewport(this.#options.scene().size, this.#size, this.#options.insets());
    this.redraw();
  }

  /** @param {1 | -1} direction */
  zoomByStep(direction) {
    const factor = direction > 0 ? ZOOM_STEP : 1 / ZOOM_STEP;
    this.#zoom(factor, [this.#size.width / 2, this.#size.height / 2]);
  }

  /**
   * Return where a position of the photo is drawn, in CSS pixels of the canvas.
   * @param {Position} position
   */
  onScreen(position) {
    return toCanvas(this.#viewport, ...position);
  }

  /**
   * Return the position of the photo that is drawn at (x, y) of the canvas.
   * @param {number} x
   * @param {number} y
   */
  positionAt(x, y) {
    return this.#toPhoto([x, y]);
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0 || height === 0) return;
    this.#size = { width, height };
    this.#canvas.width = Math.round(width * window.devicePixelRatio);
    this.#canvas.height = Math.round(height * window.devicePixelRatio);
    if (this.#isFitted) this.fit();
    this.redraw();
  }

  /** @param {Position} position */
  #toPhoto([x, y]) {
    return toPhoto(this.#viewport, x, y);
  }

  /**
   * Return the position of the photo that is nearest to one of the canvas.
   * @param {Position} position
   * @returns {Position}
   */
  #ontoPhoto(position) {
    const [x, y] = this.#toPhoto(position);
    const { size } = this.#options.scene();
    return [Math.min(Math.max(x, 0), size.width), Math.min(Math.max(y, 0), size.height)];
  }

  /**
   * @param {Position} position
   * @param {PointerEvent} event
   */
  #down(position, event) {
    this.#hideCursor();
    const start = this.#ontoPhoto(position);
    const [x, y] = this.onScreen(start);
    if (Math.hypot(x - position[0], y - position[1]) > MAX_DISTANCE) return;
    this.#options.beforeDown(event);
    this.#drawing((tool) => tool.down(start));
  }

  /** @param {(tool: Tool) => void} act */
  #drawing(act) {
    const tool = this.#options.tool();
    if (tool) act(tool);
    this.redraw();
  }

  /** @param {Position | null} position */
  #hover(position) {
    const onPhoto = position && this.#toPhoto(position);
    this.#options.hover(onPhoto && this.#isOnPhoto(onPhoto) ? onPhoto : null);
    if (onPhoto) this.#options.tool()?.hover?.(onPhoto);
    if (this.#options.tool()?.draft) this.redraw();
  }

  /** @param {Position} position */
  #isOnPhoto([x, y]) {
    const { size } = this.#options.scene();
    return x >= 0 && y >= 0 && x < size.width && y < size.height;
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  #pan(dx, dy) {
    this.#isFitted = false;
    this.#viewport = panBy(this.#viewport, dx, dy, this.#options.scene().size, this.#size);
    this.redraw();
  }

  /**
   * @param {number} factor
   * @param {Position} position
   */
  #zoom(factor, [x, y]) {
    this.#isFitted = false;
    const { size } = this.#options.scene();
    const fitted = fitViewport(size, this.#size, this.#options.insets());
    this.#viewport = zoomAt(this.#viewport, factor, x, y, Math.min(fitted.scale, 1) / 2);
    this.#pan(0, 0);
  }

  /** @param {KeyboardEvent} event */
  #keyDown(event) {
    const step = KEY_STEPS[/** @type {keyof typeof KEY_STEPS} */ (event.key)];
    if (step && !event.ctrlKey && !event.metaKey) {
      this.#moveCursor(step[0], step[1], event.shiftKey ? 4 * KEY_STEP : KEY_STEP);
      event.preventDefault();
    } else if (event.key === "Enter" && this.#cursor) {
      this.#press(event);
      event.preventDefault();
    } else {
      this.#setSpace(event, true);
    }
  }

  /**
   * @param {number} dx
   * @param {number} dy
   * @param {number} step
   */
  #moveCursor(dx, dy, step) {
    const { size } = this.#options.scene();
    const distance = step / this.#viewport.scale;
    const [x, y] = this.#cursor ?? [size.width / 2, size.height / 2];
    this.#cursor = [
      Math.min(Math.max(x + dx * distance, 0), size.width - 1),
      Math.min(Math.max(y + dy * distance, 0), size.height - 1),
    ];
    this.#hover(this.onScreen(this.#cursor));
    this.#drawing((tool) => tool.draft && tool.move(/** @type {Position} */ (this.#cursor)));
    this.#keepInView(this.#cursor);
  }

  /** @param {Position} position */
  #keepInView(position) {
    const [x, y] = this.onScreen(position);
    const dx = Math.min(Math.max(x, 40), this.#size.width - 40) - x;
    const dy = Math.min(Math.max(y, 40), this.#size.height - 40) - y;
    if (dx !== 0 || dy !== 0) this.#pan(dx, dy);
  }

  /**
   * Press at the cursor: a click, or the beginning and then the end of a drag.
   * @param {KeyboardEvent} event
   */
  #press(event) {
    const cursor = /** @type {Position} */ (this.#cursor);
    this.#options.beforeDown(event);
    this.#drawing((tool) => {
      if (tool.isDragged && tool.draft) tool.up(cursor);
      else tool.down(cursor);
      if (!tool.isDragged) tool.up(cursor);
    });
  }

  #hideCursor() {
    this.#cursor = null;
    this.#isSpaceDown = false;
    this.redraw();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {boolean} isDown
   */
  #setSpace(event, isDown) {
    if (event.key !== " ") return;
    event.preventDefault();
    this.#isSpaceDown = isDown;
    this.#canvas.classList.toggle("is-panning", isDown);
  }
}
