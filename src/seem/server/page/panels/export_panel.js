/** Take the visible objects away, as pictures or in the format of another tool. */

/** @import {PhotoObject} from "../types.js" */
/** @import {Photo} from "../state/app_state.js" */
/** @import {Workspace} from "../workspace.js" */

import { byId, closable, download, element } from "../dom.js";
import { cutOutPicture, fileName, labelMap, maskFiles, overlayPicture } from "../export/files.js";
import { objectsOf } from "../state/app_state.js";
import { countedObjects } from "../state/document.js";
import { EngineError } from "../engine/engine_error.js";

/**
 * @typedef {object} Choice
 * @property {string} name
 * @property {string} text
 * @property {string} suffix  of the file
 * @property {(photo: Photo, objects: PhotoObject[]) => Promise<Blob>} make
 */

/** @type {Choice[]} */
const PICTURES = [
  { name: "Cut-out", text: "The objects alone, the rest transparent", suffix: "cutout.png", make: cutOutPicture },
  { name: "Overlay", text: "The photo with its masks", suffix: "overlay.png", make: overlayPicture },
  { name: "Masks", text: "One PNG file for each object", suffix: "masks.zip", make: maskFiles },
  { name: "Label map", text: "One PNG file of ids, and the names", suffix: "label_map.zip", make: labelMap },
];

/** @type {Record<string, {name: string, text: string, suffix: string}>} */
export const FORMATS = {
  coco: { name: "COCO", text: "Run-length masks, JSON", suffix: "coco.json" },
  "coco-polygons": { name: "COCO polygons", text: "Outlines, JSON", suffix: "coco_polygons.json" },
  "coco-panoptic": { name: "COCO panoptic", text: "A segment for every pixel", suffix: "coco_panoptic.zip" },
  yolo: { name: "YOLO", text: "Outlines and the photo", suffix: "yolo.zip" },
  voc: { name: "Pascal VOC", text: "Class and object maps, boxes, the photo", suffix: "voc.zip" },
  labelme: { name: "LabelMe", text: "Outlines, JSON", suffix: "labelme.zip" },
  cvat: { name: "CVAT", text: "Masks, XML", suffix: "cvat.zip" },
  "label-studio": { name: "Label Studio", text: "Brush masks, JSON", suffix: "label_studio.zip" },
  geojson: { name: "GeoJSON", text: "Outlines with holes, in pixels", suffix: "geojson.zip" },
};

/** @type {Record<string, string>} */
const VIDEO_FORMATS = { "youtube-vis": "YouTube-VIS", davis: "DAVIS", mots: "MOTS" };

/**
 * @param {Workspace} workspace
 * @returns {() => void}  shows the dialog
 */
export function mountExportPanel(workspace) {
  const dialog = byId("export-dialog");
  closable(dialog);
  const show = () => {
    const count = visibleObjects(workspace).length;
    byId("export-count").textContent =
      count === 0
        ? "There is nothing to export yet: click something in the photo first."
        : `${countedObjects(count)} to export.`;
    byId("export-choices").replaceChildren(...choicesOf(workspace).map((choice) => choiceButton(choice, workspace, count)));
    dialog.showModal();
  };
  byId("show-export").addEventListener("click", show);
  return show;
}

/** @param {Workspace} workspace */
function visibleObjects(workspace) {
  return objectsOf(workspace.state).filter(({ visible }) => visible);
}

/**
 * @param {Workspace} workspace
 * @returns {Choice[]}
 */
function choicesOf(workspace) {
  const offered = workspace.state.information?.image_formats ?? [];
  const known = offered.filter((/** @type {string} */ format) => format in FORMATS);
  const formats = known.map((/** @type {string} */ format) => ({
    ...FORMATS[format],
    make: () => workspace.exportAs(format, visibleObjects(workspace)),
  }));
  return [...PICTURES, ...formats, ...trackChoices(workspace)];
}

/**
 * @param {Workspace} workspace
 * @returns {Choice[]}
 */
function trackChoices({ engine, state: { track, information } }) {
  if (!track || !information) return [];
  return information.video_formats.map((/** @type {string} */ format) => ({
    name: VIDEO_FORMATS[format] ?? format,
    text: "The objects in every frame",
    suffix: `${format}.zip`,
    make: () => engine.exportTracks(track.jobId, format),
  }));
}

/**
 * @param {Choice} choice
 * @param {Workspace} workspace
 * @param {number} count
 */
function choiceButton({ name, text, suffix, make }, workspace, count) {
  const save = async () => {
    const photo = /** @type {Photo} */ (workspace.state.photo);
    const stem = fileName(photo.name.replace(/\.\w+$/, ""));
    try {
      download(await make(photo, visibleObjects(workspace)), `${stem}_${suffix}`);
      workspace.notices.announce(`${name} saved.`);
    } catch (error) {
      const reason = error instanceof EngineError ? error.message : "The browser could not write the file.";
      byId("export-dialog").close();
      workspace.notices.show(reason);
    }
  };
  return element(
    "button",
    { type: "button", class: "choice", disabled: count === 0, on: { click: save } },
    element("strong", {}, name),
    element("span", {}, text),
  );
}
