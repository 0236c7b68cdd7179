/** An object in a second photo, marked by a person: what is like it is segmented in the first. */

/** @import {Prompt, ToolName} from "../types.js" */
/** @import {Workspace} from "../workspace.js" */

import { PhotoCanvas } from "../canvas/photo_canvas.js";
import { byId, closable, element, radioGroup } from "../dom.js";
import { whenChanged } from "../state/store.js";
import { createTool } from "../tools/tools.js";

const INSETS = { top: 12, right: 12, bottom: 12, left: 12 };
const BRUSH_WIDTH = 14; // CSS pixels
const THUMBNAIL_SIDE = 300;

/** @param {Workspace} workspace */
export function mountReferencePanel(workspace) {
  const dialog = byId("reference-dialog");
  closable(dialog);
  const input = element("input", { type: "file", accept: "image/*" });
  input.addEventListener("change", async () => {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    await workspace.openReference(file, file.name);
    if (workspace.state.reference) dialog.showModal();
  });
  byId("reference-open").addEventListener("click", () => {
    if (workspace.state.reference) dialog.showModal();
    else input.click();
  });
  byId("reference-change").addEventListener("click", () => input.click());
  mountDialog(workspace, dialog);
  byId("reference-use").addEventListener("click", () => workspace.useReference());
  workspace.store.subscribe(
    whenChanged(
      ({ reference, information }) => [reference, information],
      (state) => showReference(state),
    ),
  );
}

/**
 * @param {Workspace} workspace
 * @param {HTMLDialogElement} dialog
 */
function mountDialog(workspace, dialog) {
  const marks = () => workspace.state.reference?.prompts ?? [];
  const setMarks = (/** @type {Prompt[]} */ prompts) => {
    const { reference } = workspace.state;
    if (reference) workspace.store.set({ reference: { ...reference, prompts } });
  };
  /** @type {PhotoCanvas} */
  let canvas;
  let toolName = /** @type {ToolName} */ ("click");
  const makeTool = () =>
    createTool(toolName, {
      finish: (prompt) => setMarks([...marks(), prompt]),
      erase: () => {},
      scale: () => canvas.scale,
      brushWidth: () => BRUSH_WIDTH / canvas.scale,
      isPositive: () => true,
      redraw: () => canvas.redraw(),
    });
  let tool = makeTool();
  canvas = new PhotoCanvas(byId("reference-canvas"), {
    insets: () => INSETS,
    scene: () => sceneOf(workspace),
    tool: () => tool,
    beforeDown: () => {},
    hover: () => {},
  });
  const showTool = radioGroup(byId("reference-tools"), "tool", (name) => {
    toolName = /** @type {ToolName} */ (name);
    tool = makeTool();
    showTool(name);
    canvas.redraw();
  });
  showTool(toolName);
  byId("reference-clear").addEventListener("click", () => setMarks([]));
  byId("reference-done").addEventListener("click", () => {
    dialog.close();
    workspace.useReference();
  });
  workspace.store.subscribe(whenChanged(({ reference }) => [reference], () => canvas.redraw()));
  workspace.store.subscribe(whenChanged(({ reference }) => [reference?.key], () => canvas.fit()));
}

/** @param {Workspace} workspace */
function sceneOf({ state: { reference } }) {
  return {
    picture: reference?.picture ?? null,
    size: reference?.picture ?? { width: 1, height: 1 },
    objects: [],
    selection: [],
    preview: null,
    marks: reference?.prompts ?? [],
  };
}

/** @param {import("../state/app_state.js").Reference | null} reference */
function labelOf(reference) {
  if (!reference) return "Choose the second photo";
  const count = reference.prompts.length;
  if (count === 0) return `${reference.name}: mark the object`;
  return `${reference.name} · ${count} ${count === 1 ? "mark" : "marks"}`;
}

/** @param {import("../state/app_state.js").AppState} state */
function showReference({ reference, information }) {
  byId("reference-section").hidden = information !== null && !information.model.references;
  const hasMarks = reference !== null && reference.prompts.length > 0;
  byId("reference-use").disabled = !hasMarks;
  byId("reference-done").disabled = !hasMarks;
  byId("reference-label").textContent = labelOf(reference);
  const thumbnail = byId("reference-thumbnail");
  thumbnail.hidden = reference === null;
  if (!reference) return;
  const { picture } = reference;
  const scale = THUMBNAIL_SIDE / Math.max(picture.width, picture.height);
  thumbnail.width = picture.width * scale;
  thumbnail.height = picture.height * scale;
  thumbnail.getContext("2d").drawImage(picture, 0, 0, thumbnail.width, thumbnail.height);
}
