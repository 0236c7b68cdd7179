/** The whole project in one file, or as a data set to train on. */

/** @import {ProjectSession} from "../project/project_session.js" */

import { byId, closable, download, element } from "../dom.js";
import { fileName } from "../export/files.js";
import { FORMATS } from "./export_panel.js";
import { countOf } from "./project_home.js";

const MASKS = { name: "Masks", text: "One PNG file for each object", suffix: "masks.zip" };
const FORMATS_WITH_PHOTOS = ["yolo"];

/** @param {ProjectSession} project */
export function mountProjectExport(project) {
  const dialog = byId("project-export-dialog");
  closable(dialog);
  byId("project-export").addEventListener("click", () => {
    byId("dataset-command").hidden = true;
    byId("project-export-choices").replaceChildren(...choices(project));
    showCount(project);
    dialog.showModal();
  });
  byId("project-export-which").addEventListener("change", () => showCount(project));
  byId("write-dataset").addEventListener("click", () => writeDataset(project));
}

/** @returns {"done" | "annotated"} */
function chosenPhotos() {
  return byId("project-export-which").value;
}

/** @param {ProjectSession} project */
function showCount({ state: { photos } }) {
  const isChosen = chosenPhotos() === "done" ? "done" : "objects";
  const count = photos.filter((photo) => photo[isChosen] && !photo.missing).length;
  byId("project-export-count").textContent = countOf(count, "photo");
  for (const button of byId("project-export-dialog").querySelectorAll(".choice, #write-dataset")) {
    button.disabled = count === 0;
  }
}

/** @param {ProjectSession} project */
function choices(project) {
  const offered = project.workspace.state.information?.image_formats ?? [];
  const known = offered.filter((/** @type {string} */ format) => format in FORMATS);
  return [...known, "masks"].map((format) => choiceOf(format, project));
}

/**
 * @param {string} format
 * @param {ProjectSession} project
 */
function choiceOf(format, project) {
  const { name, text, suffix } = format === "masks" ? MASKS : FORMATS[format];
  const save = async () => {
    const hasPhotos = byId("project-export-photos").checked && format !== "masks";
    const isArchive = hasPhotos || FORMATS_WITH_PHOTOS.includes(format);
    const ending = isArchive ? suffix.replace(/\.json$/, ".zip") : suffix;
    await attempt(project, async () => {
      const file = await project.client.export(format, chosenPhotos(), hasPhotos);
      download(file, `${fileName(project.state.name ?? "project")}_${ending}`);
      project.workspace.notices.announce(`${name} saved.`);
    });
  };
  return element(
    "button",
    { type: "button", class: "choice", on: { click: save } },
    element("strong", {}, name),
    element("span", {}, text),
  );
}

/** @param {ProjectSession} project */
async function writeDataset(project) {
  await attempt(project, async () => {
    const { command, photos, objects } = await project.client.writeDataset(chosenPhotos());
    byId("dataset-text").textContent = `${countOf(objects, "object")} of ${countOf(photos, "photo")}. Train on them, beside the folder, with:`;
    byId("dataset-line").textContent = command;
    byId("dataset-command").hidden = false;
  });
}

/**
 * Do something that may fail; what went wrong is shown under the dialog.
 * @param {ProjectSession} project
 * @param {() => Promise<void>} act
 */
async function attempt(project, act) {
  try {
    await act();
  } catch (error) {
    byId("project-export-dialog").close();
    project.workspace.report(error);
  }
}
