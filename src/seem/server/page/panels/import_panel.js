/** The objects of a COCO file, to go on with them in the photo that is open. */

/** @import {Workspace} from "../workspace.js" */

import { byId } from "../dom.js";
import { ApiClient, withPlainMask } from "../engine/api_client.js";

/** @param {Workspace} workspace */
export function mountImportPanel(workspace) {
  const input = byId("import-file");
  byId("import-objects").addEventListener("click", () => input.click());
  input.addEventListener("change", async () => {
    const [file] = input.files;
    input.value = "";
    byId("export-dialog").close();
    if (file) await importObjects(workspace, file);
  });
}

/**
 * Tell whether a file may hold annotations.
 * @param {File} file
 */
export function isAnnotationFile(file) {
  return file.type === "application/json" || /\.json$/i.test(file.name);
}

/**
 * Add the objects that a COCO file has for the open photo.
 * @param {Workspace} workspace
 * @param {File} file
 */
export async function importObjects(workspace, file) {
  const { photo } = workspace.state;
  if (!photo) {
    workspace.notices.show("Open the photo first; then import its annotations.");
    return;
  }
  const { name, width, height } = photo;
  const query = new URLSearchParams({ name, width: String(width), height: String(height) });
  try {
    const { objects, notes } = await new ApiClient().ask("POST", `import?${query}`, file);
    workspace.addImported(objects.map(withPlainMask));
    const count = `${objects.length} ${objects.length === 1 ? "object" : "objects"} imported.`;
    workspace.notices.show([count, ...notes.slice(0, 2)].join(" "));
  } catch (error) {
    workspace.report(error);
  }
}
