/** Puts the page together. */

/** @import {Intent} from "./types.js" */

import { photoInsets } from "./canvas/insets.js";
import { PhotoCanvas } from "./canvas/photo_canvas.js";
import { byId } from "./dom.js";
import { chosenEngine, runsInBrowser } from "./engine/chosen_engine.js";
import { EngineError } from "./engine/engine_error.js";
import { HoverPreview } from "./hover_preview.js";
import { mountOffline } from "./offline.js";
import { mountAskPanel } from "./panels/ask_panel.js";
import { mountExportPanel } from "./panels/export_panel.js";
import { mountHome } from "./panels/home.js";
import { importObjects, isAnnotationFile, mountImportPanel } from "./panels/import_panel.js";
import { mountKeyboard } from "./panels/keyboard.js";
import { Notices } from "./panels/notices.js";
import { ObjectList } from "./panels/object_list.js";
import { mountProjectBar } from "./panels/project_bar.js";
import { mountProjectExport } from "./panels/project_export.js";
import { mountProjectHome } from "./panels/project_home.js";
import { mountReferencePanel } from "./panels/reference_panel.js";
import { mountSheet } from "./panels/sheet.js";
import { mountTheme } from "./panels/theme.js";
import { mountToolBars } from "./panels/tool_bars.js";
import { VideoPlayer } from "./panels/video_player.js";
import { isVideo } from "./pictures.js";
import { ProjectSession } from "./project/project_session.js";
import { objectsOf, selectedObjects } from "./state/app_state.js";
import { whenChanged } from "./state/store.js";
import { Works } from "./state/works.js";
import { createTool, takesRemoval } from "./tools/tools.js";
import { VideoTracking, objectsOfFrame } from "./video_tracking.js";
import { Workspace } from "./workspace.js";

const SAVE_MILLISECONDS = 300;
const RIGHT_BUTTON = 2;

const works = new Works();
const workspace = new Workspace(await chosenEngine(), works, new Notices());
const { store } = workspace;
const preview = new HoverPreview(workspace);
let intent = /** @type {Intent} */ ("new"); // of the mark that is being drawn

const canvas = new PhotoCanvas(byId("photo-canvas"), {
  insets: photoInsets,
  scene,
  tool: () => (isFirstFrame() || store.state.tool !== "eraser" ? tool : null),
  beforeDown: (event) => {
    preview.moveTo(null);
    intent = intentOf(event);
  },
  hover: (position) => preview.moveTo(position),
});

const toolHost = {
  finish: (/** @type {import("./types.js").Prompt} */ prompt) =>
    isFirstFrame() ? workspace.mark(prompt, intent) : tracking.correct(prompt),
  erase: workspace.erase.bind(workspace),
  scale: () => canvas.scale,
  brushWidth: () => store.state.brush / canvas.scale,
  isPositive: () => intent !== "remove",
  redraw: () => canvas.redraw(),
};
const tracking = new VideoTracking(workspace);
const player = new VideoPlayer(workspace, tracking, () => canvas.redraw());
let tool = createTool(store.state.tool, toolHost);

/**
 * Return what a mark does: as chosen, or as the keys say that are held.
 * @param {PointerEvent | KeyboardEvent} event
 * @returns {Intent}
 */
function intentOf(event) {
  const { selection, intent: chosen } = store.state;
  const isAlternative = event.altKey || ("button" in event && event.button === RIGHT_BUTTON);
  if (isAlternative && takesRemoval(store.state.tool)) return "remove";
  if (event.shiftKey && event instanceof PointerEvent && selection.length > 0) return "add";
  return chosen;
}

/** Whether the photo is shown, and no later frame of a video. */
function isFirstFrame() {
  return store.state.frame === 0;
}

/** The objects of the photo, or of the frame that is shown. */
function shownObjects() {
  const objects = isFirstFrame() ? objectsOf(store.state) : objectsOfFrame(store.state);
  return objects.filter(({ visible }) => visible);
}

/** What the canvas shows. */
function scene() {
  const { photo, selection, preview: bitmap, pending } = store.state;
  return {
    picture: player.picture ?? photo?.picture ?? null,
    size: photo ?? { width: 1, height: 1 },
    objects: shownObjects(),
    selection,
    preview: bitmap,
    marks: isFirstFrame() ? [...marksOfSelected(), ...pending] : [],
  };
}

/** The marks of the selected object, if it is the only one. */
function marksOfSelected() {
  const selected = selectedObjects(store.state);
  return selected.length === 1 && selected[0].visible ? selected[0].prompts : [];
}

function mountSelecting() {
  /** @type {[number, number]} */
  let start = [0, 0];
  const element = byId("photo-canvas");
  element.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    start = [event.clientX, event.clientY];
  });
  element.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const isClick = Math.hypot(event.clientX - start[0], event.clientY - start[1]) < 6;
    if (store.state.tool !== "pan" || !isClick) return;
    workspace.selectAt(canvas.positionAt(event.offsetX, event.offsetY), event.shiftKey, shownObjects());
  });
}

function mountSaving() {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const saveSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => workspace.save(), SAVE_MILLISECONDS);
  };
  store.subscribe(whenChanged(({ history, classes, video }) => [history, classes, video], saveSoon));
  store.subscribe(whenChanged(({ photo }) => [photo?.workId], showAddress));
  addEventListener("visibilitychange", () => workspace.save());
  works.whenStoredElsewhere((id) => workspace.takeOver(id));
}

/** The address of the page names the work, so that a reload finds it. */
function showAddress() {
  const { photo } = store.state;
  const address = photo ? `#${photo.workId}` : location.pathname;
  history.replaceState(null, "", address);
}

/** @param {File} file */
function openFile(file) {
  if (isAnnotationFile(file) && !runsInBrowser) importObjects(workspace, file);
  else if (isVideo(file)) tracking.open(file, file.name);
  else workspace.open(file, file.name);
}

/** Describe the engine; where it has a project, show that. */
async function describeEngine() {
  try {
    const information = await workspace.engine.describe();
    store.set({ information });
    if (information.project) await project.begin(address);
  } catch (error) {
    if (error instanceof EngineError && error.kind === "unauthorized") workspace.report(error, describeEngine);
    // Otherwise the first question about a photo tells what is wrong.
  }
}

const address = location.hash.slice(1); // of the work, or of the project's photo, that was open
const project = new ProjectSession(workspace);
mountHome(workspace, works, openFile);
mountToolBars(workspace, canvas);
mountAskPanel(workspace);
mountReferencePanel(workspace);
mountSheet(() => canvas.fit());
mountSelecting();
const objects = new ObjectList(workspace);
const showExport = mountExportPanel(workspace);
mountKeyboard({ workspace, canvas, objects, project, tool: () => tool, showExport });
mountImportPanel(workspace);
mountProjectHome(project);
mountProjectBar(project);
mountProjectExport(project);
mountTheme(() => canvas.redraw());
store.subscribe(
  whenChanged(({ tool: name }) => [name], ({ tool: name }) => {
    tool?.cancel();
    tool = createTool(name, toolHost);
    byId("photo-canvas").dataset.tool = name;
  }),
);
store.subscribe(whenChanged(({ photo, video }) => [photo?.workId, video?.file], () => canvas.fit()));
store.subscribe(({ pending }) => byId("photo-canvas").classList.toggle("is-waiting", pending.length > 0));
store.subscribe(() => canvas.redraw());
mountSaving();
describeEngine();
if (runsInBrowser) {
  const mount = () => mountOffline(workspace);
  workspace.engine.ready().then(mount, mount); // its files are fetched once, for the model and for the next visit
}
if (address) workspace.restore(address);
