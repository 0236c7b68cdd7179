/** The tools that draw prompts. Each one gets positions in the photo and says what it has drawn. */

/** @import {Position, Prompt, StrokePrompt, ToolName} from "../types.js" */
/** @import {Draft} from "../canvas/painter.js" */

/**
 * @typedef {object} Tool
 * @property {boolean} isDragged  from press to release; else every press counts
 * @property {Draft | null} draft  what has been drawn so far
 * @property {(position: Position) => void} down
 * @property {(position: Position) => void} move
 * @property {(position: Position) => void} up
 * @property {() => void} cancel
 * @property {(position: Position) => void} [hover]
 * @property {() => boolean} [complete]  finish now; tells whether there was anything to finish
 *
 * @typedef {object} ToolHost
 * @property {(prompt: Prompt) => void} finish
 * @property {(points: Position[], width: number) => void} erase
 * @property {() => number} scale  pixels on the screen for one of the photo
 * @property {() => number} brushWidth  in pixels of the photo
 * @property {() => boolean} isPositive
 * @property {() => void} redraw
 */

const CLICK_DISTANCE = 6; // CSS pixels: a press that moves further is no click
const CLOSE_DISTANCE = 14; // CSS pixels around the first corner of a polygon
const MIN_BOX_SIDE = 4; // CSS pixels
const POINT_DISTANCE = 2; // CSS pixels between the points of a line
const SCRIBBLE_PAUSE = 900; // milliseconds without a pen, after which a scribble is complete

/**
 * Tell whether a tool can say what does not belong to an object.
 * @param {ToolName} name
 */
export function takesRemoval(name) {
  return name !== "box" && name !== "polygon";
}

/**
 * Make a tool; null for the one that only pans.
 * @param {ToolName} name
 * @param {ToolHost} host
 * @returns {Tool | null}
 */
export function createTool(name, host) {
  switch (name) {
    case "click":
      return new ClickTool(host);
    case "stroke":
      return new StrokeTool(host);
    case "scribble":
      return new ScribbleTool(host);
    case "polygon":
      return new PolygonTool(host);
    case "box":
      return new BoxTool(host);
    case "eraser":
      return new EraserTool(host);
    case "pan":
      return null;
  }
}

/**
 * @param {Position} a
 * @param {Position} b
 */
function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

/**
 * Turn a position into a point of a stroke, whose whole numbers are the centres of pixels.
 * @param {Position} position
 * @returns {Position}
 */
function toPixel([x, y]) {
  return [round(x - 0.5), round(y - 0.5)];
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 100) / 100;
}

/**
 * @param {Position} position
 * @param {boolean} positive
 * @returns {Prompt}
 */
function pointPrompt([x, y], positive) {
  return { kind: "point", x: Math.floor(x), y: Math.floor(y), positive };
}

/** @implements {Tool} */
class ClickTool {
  isDragged = false;
  draft = null;
  /** @type {Position | null} */
  #start = null;

  /** @param {ToolHost} host */
  constructor(host) {
    this.host = host;
  }

  /** @param {Position} position */
  down(position) {
    this.#start = position;
  }

  move() {}

  /** @param {Position} position */
  up(position) {
    const start = this.#start;
    this.#start = null;
    if (!start || distance(start, position) * this.host.scale() > CLICK_DISTANCE) return;
    this.host.finish(pointPrompt(start, this.host.isPositive()));
  }

  cancel() {
    this.#start = null;
  }
}

/** One line, from press to release. */
class Line {
  /** @type {Position[]} */
  points = [];

  /**
   * @param {Position} position
   * @param {number} scale
   */
  add(position, scale) {
    const point = toPixel(position);
    const last = this.points[this.points.length - 1];
    if (!last || distance(last, point) * scale >= POINT_DISTANCE) this.points = [...this.points, point];
  }
}

/**
 * One line from press to release, of the width of the brush.
 * @implements {Tool}
 * @abstract
 */
class LineTool {
  isDragged = true;
  /** @type {Draft | null} */
  draft = null;
  #line = new Line();

  /** @param {ToolHost} host */
  constructor(host) {
    this.host = host;
  }

  /** @param {Position} position */
  down(position) {
    this.#line = new Line();
    this.#extend(position);
  }

  /** @param {Position} position */
  move(position) {
    if (this.draft) this.#extend(position);
  }

  /** @param {Position} position */
  up(position) {
    if (!this.draft) return;
    this.draft = null;
    this.finish(this.#line.points, this.host.brushWidth(), position);
  }

  cancel() {
    this.draft = null;
  }

  /** @param {Position} position */
  #extend(position) {
    this.#line.add(position, this.host.scale());
    this.draft = this.draftOf(this.#line.points, this.host.brushWidth());
  }

  /**
   * @param {Position[]} _points
   * @param {number} _width
   * @returns {Draft}
   */
  draftOf(_points, _width) {
    throw new Error("Every tool that draws lines has a draft.");
  }

  /**
   * @param {Position[]} _points
   * @param {number} _width
   * @param {Position} _position  where the pen left
   */
  finish(_points, _width, _position) {}
}

class StrokeTool extends LineTool {
  /**
   * @param {Position[]} points
   * @param {number} width
   * @returns {StrokePrompt}
   */
  draftOf(points, width) {
    return { kind: "stroke", points, width, positive: this.host.isPositive() };
  }

  /**
   * @param {Position[]} points
   * @param {number} width
   * @param {Position} position
   */
  finish(points, width, position) {
    const isDot = points.length < 2;
    this.host.finish(isDot ? pointPrompt(position, this.host.isPositive()) : this.draftOf(points, width));
  }
}

/** Several strokes that are one prompt: complete after a pause, or by Enter. */
class ScribbleTool {
  isDragged = true;
  /** @type {{kind: "scribble", strokes: Position[][], width: number, positive: boolean} | null} */
  draft = null;
  #line = new Line();
  /** @type {Position[][]} */
  #strokes = [];
  #isDown = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {ToolHost} host */
  constructor(host) {
    this.host = host;
  }

  /** @param {Position} position */
  down(position) {
    clearTimeout(this.#timer);
    this.#isDown = true;
    this.#line = new Line();
    this.#extend(position);
  }

  /** @param {Position} position */
  move(position) {
    if (this.#isDown) this.#extend(position);
  }

  up() {
    if (!this.#isDown) return;
    this.#isDown = false;
    if (this.#line.points.length > 1) this.#strokes.push(this.#line.points);
    this.#line = new Line();
    this.#timer = setTimeout(() => this.complete(), SCRIBBLE_PAUSE);
  }

  complete() {
    clearTimeout(this.#timer);
    const { draft } = this;
    const strokes = this.#strokes;
    this.cancel();
    if (!draft || strokes.length === 0) return false;
    this.host.finish({ ...draft, strokes });
    this.host.redraw();
    return true;
  }

  cancel() {
    clearTimeout(this.#timer);
    this.draft = null;
    this.#isDown = false;
    this.#strokes = [];
  }

  /** @param {Position} position */
  #extend(position) {
    this.#line.add(position, this.host.scale());
    this.draft = {
      kind: "scribble",
      strokes: [...this.#strokes, this.#line.points],
      width: this.host.brushWidth(),
      positive: this.host.isPositive(),
    };
  }
}

/** Corners by clicks; closed by a click on the first one, by a second one in place, or by Enter. */
class PolygonTool {
  isDragged = false;
  /** @type {Draft | null} */
  draft = null;
  /** @type {Position[]} */
  #corners = [];

  /** @param {ToolHost} host */
  constructor(host) {
    this.host = host;
  }

  /** @param {Position} position */
  down(position) {
    const corner = /** @type {Position} */ ([round(position[0]), round(position[1])]);
    const isNear = (/** @type {Position | undefined} */ other) =>
      other !== undefined && distance(other, corner) * this.host.scale() < CLOSE_DISTANCE;
    if (this.#corners.length > 2 && (isNear(this.#corners[0]) || isNear(this.#corners.at(-1)))) {
      this.complete();
      return;
    }
    this.#corners = [...this.#corners, corner];
    this.hover(corner);
  }

  move() {}

  up() {}

  /** @param {Position} position */
  hover(position) {
    if (this.#corners.length > 0) this.draft = { kind: "open-polygon", points: [...this.#corners, position] };
  }

  complete() {
    const points = this.#corners;
    this.cancel();
    if (points.length < 3) return false;
    this.host.finish({ kind: "polygon", points });
    this.host.redraw();
    return true;
  }

  cancel() {
    this.draft = null;
    this.#corners = [];
  }
}

/** @implements {Tool} */
class BoxTool {
  isDragged = true;
  /** @type {{kind: "box", x0: number, y0: number, x1: number, y1: number} | null} */
  draft = null;
  /** @type {Position} */
  #start = [0, 0];

  /** @param {ToolHost} host */
  constructor(host) {
    this.host = host;
  }

  /** @param {Position} position */
  down(position) {
    this.#start = position;
    this.#span(position);
  }

  /** @param {Position} position */
  move(position) {
    if (this.draft) this.#span(position);
  }

  up() {
    const box = this.draft;
    this.draft = null;
    if (!box) return;
    const side = Math.min(box.x1 - box.x0, box.y1 - box.y0);
    if (side * this.host.scale() >= MIN_BOX_SIDE) this.host.finish(box);
  }

  cancel() {
    this.draft = null;
  }

  /** @param {Position} position */
  #span([x, y]) {
    const [startX, startY] = this.#start;
    this.draft = {
      kind: "box",
      x0: Math.round(Math.min(x, startX)),
      y0: Math.round(Math.min(y, startY)),
      x1: Math.round(Math.max(x, startX)),
      y1: Math.round(Math.max(y, startY)),
    };
  }
}

class EraserTool extends LineTool {
  /**
   * @param {Position[]} points
   * @param {number} width
   * @returns {Draft}
   */
  draftOf(points, width) {
    return { kind: "eraser", points, width };
  }

  /**
   * @param {Position[]} points
   * @param {number} width
   */
  finish(points, width) {
    this.host.erase(points, width);
  }
}
