/** What lies over the edges of the photo: bars, and on a phone the open sheet. */

/** @import {Insets} from "./viewport.js" */

import { byId } from "../dom.js";

const NARROW = matchMedia("(max-width: 760px)");

const WIDE_INSETS = { top: 24, right: 72, bottom: 76, left: 112 };
const NARROW_INSETS = { top: 12, right: 8, bottom: 128, left: 8 };

/** @returns {Insets} */
export function photoInsets() {
  if (!NARROW.matches) return WIDE_INSETS;
  const sheet = byId("panel");
  if (!sheet.classList.contains("is-open")) return NARROW_INSETS;
  const bottom = sheet.offsetHeight - byId("sheet-handle").offsetHeight + NARROW_INSETS.top;
  return { ...NARROW_INSETS, bottom };
}
