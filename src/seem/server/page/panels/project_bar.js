/** The bar over a photo of a project: where one is, propose, accept, done, next. */

/** @import {AppState} from "../state/app_state.js" */
/** @import {ProjectSession, ProjectState} from "../project/project_session.js" */

import { byId } from "../dom.js";
import { objectsOf } from "../state/app_state.js";
import { countOf } from "./project_home.js";

const STORING_TEXTS = { stored: "Stored", storing: "Storing …", failed: "Not stored, trying again …", refused: "Not stored" };

/** @param {ProjectSession} project */
export function mountProjectBar(project) {
  const { workspace } = project;
  byId("project-overview").addEventListener("click", () => project.close());
  byId("project-previous").addEventListener("click", () => project.step(-1));
  byId("project-next").addEventListener("click", () => project.step(1));
  byId("propose-classes").addEventListener("click", () => proposeClasses(project));
  byId("propose-everything").addEventListener("click", () => project.propose("everything"));
  byId("accept-all").addEventListener("click", () => workspace.acceptSelected());
  byId("photo-done").addEventListener("click", () => (project.photo?.done ? project.reopen() : project.finish()));
  document.addEventListener("keydown", (event) => {
    const isFinish = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (!isFinish || project.photo === null || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    project.finish();
  });
  const show = () => showBar(project.state, workspace.state, project);
  project.store.subscribe(show);
  workspace.store.subscribe(show);
  mountConflict(project);
}

/**
 * Find the classes of the project; ask for them first where there are none.
 * @param {ProjectSession} project
 */
function proposeClasses(project) {
  if (project.workspace.state.classes.length > 0) {
    project.propose("classes");
    return;
  }
  byId("classes-section").open = true;
  byId("class-name").focus();
  project.workspace.notices.show("Name the classes of your project first, such as: dog, bench, grass.");
}

/**
 * @param {ProjectState} state
 * @param {AppState} appState
 * @param {ProjectSession} project
 */
function showBar(state, appState, project) {
  const { photo } = project;
  byId("project-bar").hidden = photo === null;
  if (photo === null) return;
  const { photos } = state;
  const number = photos.indexOf(photo) + 1;
  const numDone = photos.filter(({ done }) => done).length;
  byId("project-position").textContent = `${number} / ${photos.length}`;
  byId("project-bar-meter").max = photos.length;
  byId("project-bar-meter").value = numDone;
  byId("project-bar-count").textContent = `${numDone} done`;
  byId("project-previous").disabled = !photos.slice(0, number - 1).some(({ missing }) => !missing);
  byId("project-next").disabled = !photos.slice(number).some(({ missing }) => !missing);
  byId("storing").textContent = STORING_TEXTS[state.storing];
  byId("storing").dataset.state = state.storing;
  showDecisions(photo.done, objectsOf(appState).filter(({ proposed }) => proposed).length);
}

/**
 * @param {boolean} isDone
 * @param {number} numProposals
 */
function showDecisions(isDone, numProposals) {
  const accept = byId("accept-all");
  accept.hidden = numProposals === 0;
  accept.textContent = `Accept all ${numProposals}`;
  const done = byId("photo-done");
  done.setAttribute("aria-pressed", String(isDone));
  byId("photo-done-text").textContent = isDone ? "Done" : "Done, next";
  done.title = isDone ? "Mark it as not done" : "Accept what is proposed, mark the photo as done, go on (Ctrl+Enter)";
}

/** @param {ProjectSession} project */
function mountConflict(project) {
  const dialog = byId("conflict-dialog");
  const decide = (/** @type {boolean} */ takesTheirs) => {
    dialog.close();
    project.resolve(takesTheirs);
  };
  dialog.addEventListener("cancel", (/** @type {Event} */ event) => event.preventDefault());
  byId("conflict-theirs").addEventListener("click", () => decide(true));
  byId("conflict-mine").addEventListener("click", () => decide(false));
  project.store.subscribe(({ conflict }) => {
    if (!conflict || dialog.open) return;
    const mine = objectsOf(project.workspace.state).length;
    byId("conflict-text").textContent =
      `Somebody else has changed ${conflict.name} while you had it open. Their version has ` +
      `${countOf(conflict.objects.length, "object")}, yours ${mine}. Undo brings yours back after you take theirs.`;
    dialog.showModal();
  });
}
