/** Dark or light: as the system says, until a person chooses. */

import { byId } from "../dom.js";

const KEY = "seem.theme";

/** @param {() => void} redraw */
export function mountTheme(redraw) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
    byId("toggle-theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
    redraw();
  };
  byId("toggle-theme").addEventListener("click", () => {
    localStorage.setItem(KEY, isDark() ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}
