/** The tools, what a mark does, the width of the brush, undo and redo, zoom. */

/** @import {AppState} from "../state/app_state.js" */
/** @import {Intent, ToolName} from "../types.js" */
/** @import {Workspace} from "../workspace.js" */
/** @import {PhotoCanvas} from "../canvas/photo_canvas.js" */

import { byId, radioGroup } from "../dom.js";
import { objectsOf, selectedObjects } from "../state/app_state.js";
import { nameOf } from "../state/document.js";
import { canRedo, canUndo } from "../state/history.js";
import { whenChanged } from "../state/store.js";

/** @type {Record<ToolName, string>} */
const HINTS = {
  click: "Click an object",
  box: "Drag a box around an object",
  stroke: "Draw a stroke over an object",
  scribble: "Scribble over an object; pause when you are done",
  polygon: "Click around an object; click the first corner to close",
  eraser: "Wipe away what does not belong to the selected object",
  pan: "Click an object to select it, drag to move the photo",
};
const BRUSHES = ["stroke", "scribble", "eraser"];

/**
 * @param {Workspace} workspace
 * @param {PhotoCanvas} canvas
 */
export function mountToolBars(workspace, canvas) {
  const showTool = radioGroup(byId("tool-rail"), "tool", (tool) =>
    workspace.chooseTool(/** @type {ToolName} */ (tool)),
  );
  const showIntent = radioGroup(byId("intents"), "intent", (intent) =>
    workspace.chooseIntent(/** @type {Intent} */ (intent)),
  );
  mountButtons(workspace, canvas);
  workspace.store.subscribe((state) => {
    showTool(state.tool);
    showIntent(state.intent);
    showAvailable(state);
  });
  const select = (/** @type {AppState} */ state) => [state.tool, state.intent, selectedObjects(state)[0], objectsOf(state).length];
  workspace.store.subscribe(whenChanged(select, showHint));
}

/**
 * @param {Workspace} workspace
 * @param {PhotoCanvas} canvas
 */
function mountButtons(workspace, canvas) {
  byId("undo").addEventListener("click", () => workspace.undo());
  byId("redo").addEventListener("click", () => workspace.redo());
  byId("zoom-in").addEventListener("click", () => canvas.zoomByStep(1));
  byId("zoom-out").addEventListener("click", () => canvas.zoomByStep(-1));
  byId("zoom-fit").addEventListener("click", () => canvas.fit());
  byId("go-home").addEventListener("click", () => workspace.close());
  byId("task-cancel").addEventListener("click", () => workspace.cancel());
  const width = byId("brush-width");
  width.addEventListener("input", () => workspace.store.set({ brush: Number(width.value) }));
}

/** @param {AppState} state */
function showAvailable(state) {
  byId("undo").disabled = !canUndo(state.history);
  byId("redo").disabled = !canRedo(state.history);
  byId("brush").hidden = !BRUSHES.includes(state.tool);
  byId("intents").hidden = state.tool === "pan" || state.tool === "eraser";
  const hasSelection = selectedObjects(state).length > 0;
  for (const button of byId("intents").querySelectorAll("button")) {
    button.disabled = button.dataset.intent !== "new" && !hasSelection;
  }
  showTask(state);
}

/** @param {AppState} state */
function showTask({ task }) {
  byId("task").hidden = task === null;
  if (!task) return;
  const percent = task.fraction === null ? "" : ` ${Math.round(task.fraction * 100)} %`;
  byId("task-text").textContent = `${task.text}${percent}`;
  const progress = byId("task-progress");
  if (task.fraction === null) progress.removeAttribute("value");
  else progress.value = task.fraction;
}

/** @param {AppState} state */
function showHint(state) {
  const selected = selectedObjects(state)[0];
  const hint = byId("hint");
  if (state.intent !== "new" && selected && state.tool !== "pan" && state.tool !== "eraser") {
    const verb = state.intent === "add" ? "Mark what else belongs to" : "Mark what does not belong to";
    hint.textContent = `${verb} “${nameOf(selected)}”`;
    hint.hidden = false;
    return;
  }
  hint.textContent = HINTS[state.tool];
  hint.hidden = state.tool === "click" && objectsOf(state).length > 0;
}
