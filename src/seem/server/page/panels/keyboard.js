/** Keys for everything that buttons do. */

/** @import {Workspace} from "../workspace.js" */
/** @import {PhotoCanvas} from "../canvas/photo_canvas.js" */
/** @import {ProjectSession} from "../project/project_session.js" */
/** @import {Tool} from "../tools/tools.js" */
/** @import {ObjectList} from "./object_list.js" */

import { runsInBrowser } from "../engine/chosen_engine.js";
import { byId, closable, element } from "../dom.js";
import { toggleAll } from "./object_list.js";

/**
 * @typedef {object} KeyTargets
 * @property {Workspace} workspace
 * @property {PhotoCanvas} canvas
 * @property {ObjectList} objects
 * @property {() => Tool | null} tool
 * @property {() => void} showExport
 * @property {ProjectSession} project
 */

/**
 * @param {KeyTargets} targets
 * @returns {{keys: string[], shown: string, text: string, act: () => void}[]}
 */
function shortcutsOf({ workspace, canvas, objects, showExport }) {
  return [
    { keys: ["c"], shown: "C", text: "Click", act: () => workspace.chooseTool("click") },
    { keys: ["b"], shown: "B", text: "Box", act: () => workspace.chooseTool("box") },
    { keys: ["s"], shown: "S", text: "Stroke", act: () => workspace.chooseTool("stroke") },
    { keys: ["d"], shown: "D", text: "Scribble", act: () => workspace.chooseTool("scribble") },
    { keys: ["p"], shown: "P", text: "Outline", act: () => workspace.chooseTool("polygon") },
    { keys: ["e"], shown: "E", text: "Eraser", act: () => workspace.chooseTool("eraser") },
    { keys: ["v"], shown: "V", text: "Select and move", act: () => workspace.chooseTool("pan") },
    { keys: ["n"], shown: "N", text: "Marks begin a new object", act: () => workspace.chooseIntent("new") },
    { keys: ["a"], shown: "A, Shift+click", text: "Marks extend the object", act: () => workspace.chooseIntent("add") },
    { keys: ["r"], shown: "R, right button", text: "Marks cut the object", act: () => workspace.chooseIntent("remove") },
    { keys: ["/"], shown: "/", text: "Describe it in words", act: () => byId("phrase").focus() },
    { keys: ["f2"], shown: "F2", text: "Rename", act: () => objects.renameSelected() },
    { keys: ["delete", "backspace"], shown: "Delete", text: "Delete the selected objects", act: () => workspace.removeSelected() },
    { keys: ["m"], shown: "M", text: "Merge the selected objects", act: () => workspace.mergeSelected() },
    { keys: ["h"], shown: "H", text: "Hide or show all", act: () => toggleAll(workspace) },
    { keys: ["+", "="], shown: "+", text: "Zoom in", act: () => canvas.zoomByStep(1) },
    { keys: ["-"], shown: "−", text: "Zoom out", act: () => canvas.zoomByStep(-1) },
    { keys: ["0"], shown: "0", text: "Show the whole photo", act: () => canvas.fit() },
    { keys: ["x"], shown: "X", text: "Export", act: showExport },
    { keys: ["?"], shown: "?", text: "These keys", act: () => byId("keys-dialog").showModal() },
  ];
}

const FURTHER_KEYS = [
  { shown: "Ctrl+Z", text: "Undo" },
  { shown: "Ctrl+Shift+Z", text: "Redo" },
  { shown: "Escape", text: "Give up; select nothing" },
  { shown: "Arrows, Enter", text: "Move a cursor over the photo, mark there" },
  { shown: "Space + drag", text: "Move the photo" },
];

/**
 * @param {KeyTargets} targets
 * @returns {ReturnType<typeof shortcutsOf>}
 */
function projectShortcuts({ project, workspace }) {
  return [
    { keys: ["pagedown"], shown: "Page Down", text: "Project: next photo", act: () => project.step(1) },
    { keys: ["pageup"], shown: "Page Up", text: "Project: previous photo", act: () => project.step(-1) },
    { keys: ["g"], shown: "G", text: "Project: find my classes", act: () => byId("propose-classes").click() },
    { keys: ["y"], shown: "Y", text: "Project: accept the selected proposals, or all", act: () => workspace.acceptSelected() },
  ];
}

const FINISH_KEY = { shown: "Ctrl+Enter", text: "Project: accept all, done, next photo" };

/** @param {KeyTargets} targets */
export function mountKeyboard(targets) {
  const ofProject = runsInBrowser ? [] : projectShortcuts(targets);
  const shortcuts = [...shortcutsOf(targets), ...ofProject];
  const actions = new Map(shortcuts.flatMap(({ keys, act }) => keys.map((key) => [key, act])));
  document.addEventListener("keydown", (event) => {
    if (isTyping(event) || document.querySelector("dialog[open]")) return;
    if (event.ctrlKey || event.metaKey) undoOrRedo(event, targets.workspace);
    else if (!event.altKey) press(event, actions, targets);
  });
  showShortcuts([...shortcuts, ...(runsInBrowser ? [] : [FINISH_KEY]), ...FURTHER_KEYS]);
}

/**
 * @param {KeyboardEvent} event
 * @param {Map<string, () => void>} actions
 * @param {KeyTargets} targets
 */
function press(event, actions, { workspace, tool, canvas }) {
  if (event.key === "?") byId("keys-dialog").showModal();
  if (!workspace.state.photo || event.key === "?") return;
  const act = actions.get(event.key.toLowerCase());
  if (event.key === "Escape") {
    giveUp(workspace, tool());
    canvas.redraw();
  } else if (event.key === "Enter" && tool()?.complete?.()) {
    event.preventDefault();
    event.stopPropagation();
  } else if (act) {
    event.preventDefault();
    act();
  }
}

/**
 * Give up one thing at a time: what is drawn, what is asked, what is selected.
 * @param {Workspace} workspace
 * @param {Tool | null} tool
 */
function giveUp(workspace, tool) {
  if (tool?.draft) tool.cancel();
  else if (workspace.state.task || workspace.state.pending.length > 0) workspace.cancel();
  else workspace.select(null);
  workspace.notices.clear();
}

/**
 * @param {KeyboardEvent} event
 * @param {Workspace} workspace
 */
function undoOrRedo(event, workspace) {
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  if (key === "y" || event.shiftKey) workspace.redo();
  else workspace.undo();
}

/** @param {KeyboardEvent} event */
function isTyping({ target }) {
  const { tagName, type } = /** @type {HTMLInputElement} */ (target);
  return tagName === "SELECT" || (tagName === "INPUT" && !["checkbox", "range"].includes(type));
}

/** @param {{shown: string, text: string}[]} shortcuts */
function showShortcuts(shortcuts) {
  const dialog = byId("keys-dialog");
  closable(dialog);
  byId("show-keys").addEventListener("click", () => dialog.showModal());
  const rows = shortcuts.flatMap(({ shown, text }) => [
    element("dt", {}, element("kbd", {}, shown)),
    element("dd", {}, text),
  ]);
  byId("keys").replaceChildren(...rows);
}
