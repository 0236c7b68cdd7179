/** The list of objects: select, rename, recolour, show or hide, delete, merge. */

/** @import {PhotoObject} from "../types.js" */
/** @import {AppState} from "../state/app_state.js" */
/** @import {Workspace} from "../workspace.js" */

import { byId, element, icon, setIcon } from "../dom.js";
import { objectsOf, selectedObjects } from "../state/app_state.js";
import { countedObjects, nameOf } from "../state/document.js";
import { PALETTE, colorAt } from "../state/palette.js";
import { whenChanged } from "../state/store.js";

export class ObjectList {
  #root = byId("object-list");
  #workspace;
  /** @type {number | null} */
  #renamedId = null;

  /** @param {Workspace} workspace */
  constructor(workspace) {
    this.#workspace = workspace;
    byId("merge").addEventListener("click", () => workspace.mergeSelected());
    byId("remove").addEventListener("click", () => workspace.removeSelected());
    byId("show-all").addEventListener("click", () => toggleAll(workspace));
    this.#root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#keyDown(event));
    const select = (/** @type {AppState} */ state) => [state.history.present, state.selection];
    workspace.store.subscribe(whenChanged(select, (state) => this.#render(state)));
  }

  /** Begin to rename the selected object. */
  renameSelected() {
    const [object] = selectedObjects(this.#workspace.state);
    if (object) this.#beginRenaming(object.id);
  }

  /** @param {AppState} state */
  #render(state) {
    const objects = objectsOf(state);
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.focus;
    this.#root.replaceChildren(...objects.map((object) => this.#row(object, state)));
    this.#restoreFocus(focused);
    byId("no-objects").hidden = objects.length > 0;
    const { length } = objects;
    byId("objects-title").textContent = length > 0 ? `Objects · ${length}` : "Objects";
    byId("sheet-title").textContent = `Describe, segment · ${length > 0 ? countedObjects(length) : "objects"}`;
    const selected = selectedObjects(state);
    byId("merge").disabled = selected.length < 2;
    byId("remove").disabled = selected.length === 0;
    showAllButton(objects);
    this.#scrollToSelected();
  }

  /** Scroll the list alone: the panel around it stays where it is. */
  #scrollToSelected() {
    const row = this.#root.querySelector(".is-selected")?.getBoundingClientRect();
    if (!row) return;
    const list = this.#root.getBoundingClientRect();
    if (row.bottom > list.bottom) this.#root.scrollTop += row.bottom - list.bottom;
    else if (row.top < list.top) this.#root.scrollTop -= list.top - row.top;
  }

  /** @param {string | undefined} key */
  #restoreFocus(key) {
    if (!key) return;
    const same = this.#root.querySelector(`[data-focus="${key}"]`);
    const first = this.#root.querySelector("[data-focus]");
    if (key.startsWith("object-")) (same ?? first)?.focus({ preventScroll: true });
  }

  /**
   * @param {PhotoObject} object
   * @param {AppState} state
   */
  #row(object, state) {
    const isSelected = state.selection.includes(object.id);
    const item = element(
      "li",
      { class: rowClass(object, isSelected) },
      this.#swatch(object),
      this.#renamedId === object.id ? this.#nameField(object) : this.#nameButton(object, isSelected),
      element("span", { class: "score", title: "How sure the model is" }, `${Math.round(object.score * 100)}%`),
      ...(object.proposed ? [this.#acceptButton(object)] : []),
      this.#eyeButton(object),
    );
    return item;
  }

  /** @param {PhotoObject} object */
  #swatch(object) {
    const button = element("button", {
      type: "button",
      class: "swatch",
      title: "Change the colour",
      "aria-label": `Colour of ${nameOf(object)}: ${colorAt(object.color).name}. Change it`,
      "data-focus": `object-${object.id}-color`,
      on: { click: () => this.#workspace.recolor(object.id, (object.color + 1) % PALETTE.length) },
    });
    button.style.setProperty("--swatch", colorAt(object.color).css);
    return button;
  }

  /**
   * @param {PhotoObject} object
   * @param {boolean} isSelected
   */
  #nameButton(object, isSelected) {
    const select = (/** @type {MouseEvent} */ event) => {
      // A "dblclick" would need the same button twice; selecting makes a new one.
      if (event.detail === 2) this.#beginRenaming(object.id);
      else this.#workspace.select(object.id, event.shiftKey || event.ctrlKey || event.metaKey);
    };
    return element(
      "button",
      {
        type: "button",
        class: "object-name",
        title: "Select; double click to rename, Shift or Ctrl to select several",
        "aria-current": isSelected ? "true" : null,
        "data-focus": `object-${object.id}`,
        "data-id": object.id,
        on: { click: select },
      },
      nameOf(object),
    );
  }

  /** @param {PhotoObject} object */
  #nameField(object) {
    const shown = object.label ?? nameOf(object);
    const finish = (/** @type {boolean} */ isKept) => {
      if (this.#renamedId !== object.id) return;
      this.#renamedId = null;
      if (isKept && field.value !== shown) this.#workspace.rename(object.id, field.value);
      this.#render(this.#workspace.state);
      this.#root.querySelector(`[data-focus="object-${object.id}"]`)?.focus();
    };
    const field = element("input", {
      class: "rename",
      "aria-label": `New name of ${nameOf(object)}`,
      maxlength: 200,
      value: shown,
      on: {
        blur: () => finish(true),
        keydown: (/** @type {KeyboardEvent} */ event) => {
          event.stopPropagation();
          if (event.key === "Enter") finish(true);
          if (event.key === "Escape") finish(false);
        },
      },
    });
    return field;
  }

  /** @param {PhotoObject} object */
  #acceptButton(object) {
    return element(
      "button",
      {
        type: "button",
        class: "icon-button small accept",
        "aria-label": `Accept ${nameOf(object)}`,
        title: "Accept this proposal (Y)",
        "data-focus": `object-${object.id}-accept`,
        on: { click: () => this.#workspace.accept([object.id]) },
      },
      icon("check"),
    );
  }

  /** @param {PhotoObject} object */
  #eyeButton(object) {
    const act = object.visible ? "Hide" : "Show";
    return element(
      "button",
      {
        type: "button",
        class: "icon-button small",
        "aria-label": `${act} ${nameOf(object)}`,
        title: act,
        "data-focus": `object-${object.id}-eye`,
        on: { click: () => this.#workspace.setVisible(object.id, !object.visible) },
      },
      icon(object.visible ? "eye" : "eye-off"),
    );
  }

  /** @param {number} id */
  #beginRenaming(id) {
    this.#renamedId = id;
    this.#render(this.#workspace.state);
    const field = this.#root.querySelector(".rename");
    field.focus();
    field.select();
  }

  /** @param {KeyboardEvent} event */
  #keyDown(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const names = [...this.#root.querySelectorAll(".object-name")];
    const row = /** @type {HTMLElement} */ (event.target).closest(".object-row");
    const index = names.findIndex((name) => name.closest(".object-row") === row);
    const next = names[Math.min(Math.max(index + step, 0), names.length - 1)];
    next?.focus();
    if (next) this.#workspace.select(Number(next.dataset.id), event.shiftKey);
  }
}

/**
 * @param {PhotoObject} object
 * @param {boolean} isSelected
 */
function rowClass({ visible, proposed }, isSelected) {
  const states = { "is-selected": isSelected, "is-hidden": !visible, "is-proposed": proposed };
  const names = Object.entries(states).flatMap(([name, holds]) => (holds ? [name] : []));
  return ["object-row", ...names].join(" ");
}

/** @param {Workspace} workspace */
export function toggleAll(workspace) {
  workspace.setAllVisible(objectsOf(workspace.state).every(({ visible }) => !visible));
}

/** @param {PhotoObject[]} objects */
function showAllButton(objects) {
  const button = byId("show-all");
  const areHidden = objects.length > 0 && objects.every(({ visible }) => !visible);
  button.disabled = objects.length === 0;
  button.setAttribute("aria-label", areHidden ? "Show all objects" : "Hide all objects");
  setIcon(button, areHidden ? "eye-off" : "eye");
}
