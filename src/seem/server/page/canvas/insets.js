/** What lies over the edges of the photo: bars, and on a phone the open sheet. */

/** @import {Insets} from "./viewport.js" */

import { byId } from "../dom.js";

const NARROW = matchMedia("(max-width: 760px)");

const WIDE_INSETS = { top: 66, right: 72, bottom: 76, left: 112 };
const NARROW_INSETS = { top: 58, right: 8, bottom: 128, left: 8 };
const SHEET_MARGIN = 12;

const PLAYER_HEIGHT = 60;

/** @returns {Insets} */
export function photoInsets() {
  const insets = barInsets();
  return byId("player").hidden ? insets : { ...insets, bottom: insets.bottom + PLAYER_HEIGHT };
}

/** @returns {Insets} */
function barInsets() {
  if (!NARROW.matches) return WIDE_INSETS;
  const sheet = byId("panel");
  if (!sheet.classList.contains("is-open")) return NARROW_INSETS;
  const bottom = sheet.offsetHeight - byId("sheet-handle").offsetHeight + SHEET_MARGIN;
  return { ...NARROW_INSETS, top: SHEET_MARGIN, bottom };
}
