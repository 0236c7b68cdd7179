/** All photos of a project: how far it is, where to go on, what can be done with all of them. */

/** @import {ProjectPhoto} from "../project/project_client.js" */
/** @import {ProjectSession, ProjectState} from "../project/project_session.js" */

import { byId, element, icon } from "../dom.js";
import { whenChanged } from "../state/store.js";

/** @param {ProjectSession} project */
export function mountProjectHome(project) {
  const thumbnails = new Thumbnails(project);
  byId("project-continue").addEventListener("click", () => project.openNextUndone());
  byId("project-propose-all").addEventListener("click", () => {
    if (project.state.proposing) project.stopProposing();
    else project.proposeForAll();
  });
  mountImport(project);
  const changed = whenChanged(
    (/** @type {ProjectState} */ { name, photos, proposing, classes }) => [name, photos, proposing, classes],
    (state) => {
      document.body.classList.toggle("has-project", state.name !== null);
      if (state.name === null) return;
      showProgress(state);
      showProposing(state);
      showPhotos(state.photos, project, thumbnails);
    },
  );
  project.store.subscribe(changed);
}

/** @param {ProjectSession} project */
function mountImport(project) {
  const input = byId("project-import-file");
  byId("project-import").addEventListener("click", () => input.click());
  input.addEventListener("change", async () => {
    const [file] = input.files;
    input.value = "";
    if (file) await importInto(project, file);
  });
}

/**
 * @param {ProjectSession} project
 * @param {File} file
 * @param {"keep" | "replace"} existing
 */
async function importInto(project, file, existing = "keep") {
  const { notices } = project.workspace;
  try {
    const { photos, objects, notes } = await project.importCoco(file, existing);
    const text = [`${countOf(objects, "object")} of ${countOf(photos, "photo")} imported.`, ...notes.slice(0, 2)].join(" ");
    const keptSome = existing === "keep" && notes.some((note) => note.includes("left as it is"));
    const replace = { label: "Replace those too", run: () => importInto(project, file, "replace") };
    notices.show(text, keptSome ? replace : undefined);
  } catch (error) {
    project.workspace.report(error);
  }
}

/** @param {ProjectState} state */
function showProgress({ name, photos }) {
  const done = photos.filter((photo) => photo.done).length;
  byId("project-name").textContent = name;
  byId("project-count").textContent = `${done} of ${countOf(photos.length, "photo")} done`;
  byId("project-meter").max = Math.max(photos.length, 1);
  byId("project-meter").value = done;
  byId("project-empty").hidden = photos.length > 0;
  const button = byId("project-continue");
  button.disabled = done === photos.length;
  const isBegun = photos.some((photo) => photo.done || photo.objects > 0);
  button.textContent = isBegun ? "Continue" : "Begin";
}

/** @param {ProjectState} state */
function showProposing({ proposing, photos, classes }) {
  const button = byId("project-propose-all");
  const open = photos.filter((photo) => !photo.done && photo.objects + photo.proposals === 0).length;
  button.disabled = proposing === null && open === 0;
  if (proposing) button.textContent = `Stop (${proposing.done} of ${proposing.total})`;
  else button.textContent = classes.names.length > 0 ? "Find my classes in all" : "Propose for all";
}

/**
 * @param {ProjectPhoto[]} photos
 * @param {ProjectSession} project
 * @param {Thumbnails} thumbnails
 */
function showPhotos(photos, project, thumbnails) {
  const list = byId("project-photos");
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.photo;
  list.replaceChildren(...photos.map((photo) => photoItem(photo, project, thumbnails)));
  if (focused) list.querySelector(`[data-photo="${focused}"]`)?.focus({ preventScroll: true });
}

/**
 * @param {ProjectPhoto} photo
 * @param {ProjectSession} project
 * @param {Thumbnails} thumbnails
 */
function photoItem(photo, project, thumbnails) {
  const { id, name, done, missing } = photo;
  const state = stateOf(photo);
  const button = element(
    "button",
    {
      type: "button",
      class: `card photo-card${done ? " is-done" : ""}`,
      disabled: missing,
      title: name,
      "data-photo": id,
      on: { click: () => project.open(id) },
    },
    thumbnails.imageOf(photo),
    ...(done ? [element("span", { class: "done-mark" }, icon("check"))] : []),
    element("span", { class: "card-text" }, element("strong", {}, name), element("span", {}, state)),
  );
  return element("li", {}, button);
}

/** @param {ProjectPhoto} photo */
function stateOf({ done, missing, objects, proposals }) {
  if (missing) return "no longer in the folder";
  const parts = [];
  if (done) parts.push("done");
  if (objects > 0 || done) parts.push(countOf(objects, "object"));
  if (proposals > 0) parts.push(countOf(proposals, "proposal"));
  return parts.join(" · ") || "to do";
}

/**
 * @param {number} count
 * @param {string} noun
 */
export function countOf(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Small pictures, fetched when they come into view and then kept. */
class Thumbnails {
  #project;
  /** @type {Map<string, Promise<string>>} */
  #addresses = new Map();
  #observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.#observer.unobserve(target);
      this.#load(/** @type {HTMLImageElement} */ (target));
    }
  });

  /** @param {ProjectSession} project */
  constructor(project) {
    this.#project = project;
  }

  /** @param {ProjectPhoto} photo */
  imageOf({ id, missing }) {
    const image = element("img", { alt: "", "data-photo-id": id, class: "thumbnail" });
    if (!missing) this.#observer.observe(image);
    return image;
  }

  /** @param {HTMLImageElement} image */
  async #load(image) {
    const id = /** @type {string} */ (image.dataset.photoId);
    const loading = this.#addresses.get(id) ?? this.#project.client.thumbnail(id).then(URL.createObjectURL);
    this.#addresses.set(id, loading);
    try {
      image.src = await loading;
    } catch {
      this.#addresses.delete(id); // the card says by its name which photo it is
    }
  }
}
