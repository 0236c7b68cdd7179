/** On a phone the panel is a sheet at the lower edge, which a press or a drag opens and closes. */

import { byId } from "../dom.js";

const DRAG_DISTANCE = 24; // CSS pixels

/**
 * Let the handle open and close the sheet.
 * @param {() => void} afterwards
 */
export function mountSheet(afterwards) {
  const handle = byId("sheet-handle");
  const setOpen = (/** @type {boolean} */ isOpen) => {
    byId("panel").classList.toggle("is-open", isOpen);
    handle.setAttribute("aria-expanded", String(isOpen));
    afterwards();
  };
  let startY = 0;
  let isDragged = false;
  handle.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    startY = event.clientY;
    isDragged = false;
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointerup", (/** @type {PointerEvent} */ event) => {
    const distance = startY - event.clientY;
    isDragged = Math.abs(distance) > DRAG_DISTANCE;
    if (isDragged) setOpen(distance > 0);
  });
  handle.addEventListener("click", () => {
    if (!isDragged) setOpen(handle.getAttribute("aria-expanded") !== "true");
    isDragged = false;
  });
}
