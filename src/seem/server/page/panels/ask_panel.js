/** Questions in words, about the whole photo, and a person's own classes. */

/** @import {AppState} from "../state/app_state.js" */
/** @import {WholeTask, Workspace} from "../workspace.js" */

import { byId, element, icon } from "../dom.js";
import { selectedObjects } from "../state/app_state.js";
import { whenChanged } from "../state/store.js";

const MAX_CLASSES = 1000;

/** @param {Workspace} workspace */
export function mountAskPanel(workspace) {
  mountDescribe(workspace);
  mountClasses(workspace);
  mountThreshold(workspace);
  for (const button of document.querySelectorAll("[data-whole]")) {
    const task = /** @type {WholeTask} */ (/** @type {HTMLElement} */ (button).dataset.whole);
    button.addEventListener("click", () => workspace.segmentWhole(task));
  }
  workspace.store.subscribe(
    whenChanged(
      (state) => [state.classes, state.usesClasses],
      (state) => showClasses(state, workspace),
    ),
  );
  workspace.store.subscribe((state) => {
    byId("describe-selected").hidden = selectedObjects(state).length === 0;
  });
}

/** @param {Workspace} workspace */
function mountDescribe(workspace) {
  const input = byId("phrase");
  const describe = (/** @type {"all" | "best" | "selected"} */ scope) => {
    const phrase = input.value.trim();
    if (phrase) workspace.describe(phrase, scope);
    else input.focus();
  };
  byId("describe").addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    describe("all");
  });
  byId("describe-best").addEventListener("click", () => describe("best"));
  byId("describe-selected").addEventListener("click", () => describe("selected"));
}

/** @param {Workspace} workspace */
function mountThreshold(workspace) {
  const threshold = byId("threshold");
  threshold.addEventListener("change", () => {
    workspace.store.set({ threshold: threshold.value === "" ? null : Number(threshold.value) });
  });
  workspace.store.subscribe(
    whenChanged((state) => [state.threshold], (state) => {
      threshold.value = state.threshold === null ? "" : String(state.threshold);
    }),
  );
}

/** @param {Workspace} workspace */
function mountClasses(workspace) {
  const input = byId("class-name");
  byId("add-class").addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const { classes } = workspace.state;
    workspace.setClasses(withNames(classes, input.value), true);
    input.value = "";
  });
  const uses = byId("use-classes");
  uses.addEventListener("change", () => workspace.setClasses(workspace.state.classes, uses.checked));
}

/**
 * Add names, separated by commas or lines, to a list that has none twice.
 * @param {string[]} classes
 * @param {string} text
 */
function withNames(classes, text) {
  const names = text.split(/[,;\n]/).map((name) => name.trim());
  const known = new Set(classes.map((name) => name.toLowerCase()));
  const added = [];
  for (const name of names) {
    if (!name || known.has(name.toLowerCase())) continue;
    known.add(name.toLowerCase());
    added.push(name);
  }
  return [...classes, ...added].slice(0, MAX_CLASSES);
}

/**
 * @param {AppState} state
 * @param {Workspace} workspace
 */
function showClasses({ classes, usesClasses }, workspace) {
  const uses = byId("use-classes");
  uses.checked = usesClasses && classes.length > 0;
  uses.disabled = classes.length === 0;
  byId("classes").replaceChildren(...classes.map((name) => classChip(name, workspace)));
}

/**
 * @param {string} name
 * @param {Workspace} workspace
 */
function classChip(name, workspace) {
  const remove = () => {
    const { classes, usesClasses } = workspace.state;
    workspace.setClasses(classes.filter((each) => each !== name), usesClasses);
  };
  const button = element(
    "button",
    { type: "button", class: "chip-remove", "aria-label": `Remove the class ${name}`, on: { click: remove } },
    icon("close"),
  );
  return element("li", { class: "chip" }, name, button);
}
