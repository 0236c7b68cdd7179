/** Pointers of every kind on an element, as drawing, hovering, panning and zooming. */

/** @import {Position} from "../types.js" */

/**
 * @typedef {object} GestureHandlers  positions are in CSS pixels of the element
 * @property {(position: Position, event: PointerEvent) => void} down
 * @property {(position: Position) => void} move
 * @property {(position: Position) => void} up
 * @property {() => void} cancel  what was being drawn is given up
 * @property {(position: Position | null) => void} hover  null: the pointer has left
 * @property {(dx: number, dy: number) => void} pan
 * @property {(factor: number, position: Position) => void} zoom
 * @property {() => boolean} pansByDragging
 */

const WHEEL_SPEED = 0.0015;
const PINCH_WHEEL_SPEED = 0.01;
const LINE_HEIGHT = 16; // of wheels that count lines
const MIDDLE_BUTTON = 1;

export class Gestures {
  #element;
  #handlers;
  /** @type {Map<number, Position>} */
  #pointers = new Map();
  /** @type {"idle" | "draw" | "pan" | "pinch"} */
  #mode = "idle";

  /**
   * @param {HTMLElement} element
   * @param {GestureHandlers} handlers
   */
  constructor(element, handlers) {
    this.#element = element;
    this.#handlers = handlers;
    element.addEventListener("pointerdown", (event) => this.#down(event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    element.addEventListener("pointerup", (event) => this.#up(event));
    element.addEventListener("pointercancel", (event) => this.#lose(event));
    element.addEventListener("pointerleave", () => handlers.hover(null));
    element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** @param {PointerEvent} event */
  #down(event) {
    this.#element.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#position(event));
    if (this.#pointers.size === 2) {
      if (this.#mode === "draw") this.#handlers.cancel();
      this.#mode = "pinch";
    } else if (this.#mode === "idle") {
      this.#begin(event);
    }
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    const pans = event.button === MIDDLE_BUTTON || this.#handlers.pansByDragging();
    this.#mode = pans ? "pan" : "draw";
    if (event.button === MIDDLE_BUTTON) event.preventDefault(); // scrolling by the middle button
    if (!pans) this.#handlers.down(this.#position(event), event);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const position = this.#position(event);
    const previous = this.#pointers.get(event.pointerId);
    if (!previous) {
      if (event.pointerType === "mouse") this.#handlers.hover(position);
      return;
    }
    if (this.#mode === "pinch") this.#pinch(event.pointerId, position);
    this.#pointers.set(event.pointerId, position);
    if (this.#mode === "pan") {
      this.#handlers.pan(position[0] - previous[0], position[1] - previous[1]);
    } else if (this.#mode === "draw") {
      for (const each of event.getCoalescedEvents?.() ?? []) this.#handlers.move(this.#position(each));
      this.#handlers.move(position);
    }
  }

  /**
   * Zoom and pan by two fingers, one of which has moved.
   * @param {number} movedId
   * @param {Position} moved
   */
  #pinch(movedId, moved) {
    const other = [...this.#pointers].find(([id]) => id !== movedId)?.[1];
    const previous = this.#pointers.get(movedId);
    if (!other || !previous) return;
    const before = Math.hypot(previous[0] - other[0], previous[1] - other[1]);
    const after = Math.hypot(moved[0] - other[0], moved[1] - other[1]);
    this.#handlers.pan((moved[0] - previous[0]) / 2, (moved[1] - previous[1]) / 2);
    const middle = /** @type {Position} */ ([(moved[0] + other[0]) / 2, (moved[1] + other[1]) / 2]);
    if (before > 0) this.#handlers.zoom(after / before, middle);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (this.#mode === "draw") this.#handlers.up(this.#position(event));
    this.#release(event);
  }

  /** @param {PointerEvent} event */
  #lose(event) {
    if (this.#mode === "draw") this.#handlers.cancel();
    this.#release(event);
  }

  /** @param {PointerEvent} event */
  #release(event) {
    this.#pointers.delete(event.pointerId);
    if (this.#pointers.size === 0) this.#mode = "idle";
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_HEIGHT : 1;
    const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
    const isMouseWheel = dx === 0 && Math.abs(dy) >= 50;
    if (event.ctrlKey || isMouseWheel) {
      const speed = isMouseWheel ? WHEEL_SPEED : PINCH_WHEEL_SPEED;
      this.#handlers.zoom(Math.exp(-dy * speed), this.#position(event));
    } else {
      this.#handlers.pan(-dx, -dy);
    }
  }

  /**
   * @param {MouseEvent} event
   * @returns {Position}
   */
  #position(event) {
    const { left, top } = this.#element.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }
}
