/** The first view: choose a file, an example, or what you did before. */

/** @import {Works} from "../state/works.js" */
/** @import {Workspace} from "../workspace.js" */

import { byId, element, icon } from "../dom.js";
import { countedObjects } from "../state/document.js";
import { whenChanged } from "../state/store.js";

const EXAMPLES = [
  { file: "cat.jpg", name: "Cat", hint: "Click the cat" },
  { file: "coffee.jpg", name: "Coffee", hint: "Type “cup”" },
  { file: "astronaut.jpg", name: "Astronaut", hint: "Box the helmet" },
];

/**
 * @param {Workspace} workspace
 * @param {Works} works
 * @param {(file: File) => void} openFile
 */
export function mountHome(workspace, works, openFile) {
  mountFileInput(openFile);
  byId("examples").replaceChildren(...EXAMPLES.map((example) => exampleItem(example, workspace)));
  const { store } = workspace;
  const byView = whenChanged(
    ({ photo }) => [photo?.workId],
    ({ photo }) => {
      document.body.dataset.view = photo ? "workspace" : "home";
      document.title = photo ? `${photo.name} · Seem` : "Seem";
      byId("photo-name").textContent = photo?.name ?? "";
      if (!photo) showRecent(works, workspace);
    },
  );
  store.subscribe(byView);
  store.subscribe(whenChanged(({ information }) => [information], (state) => showModel(state, workspace.engine)));
}

/** @param {(file: File) => void} openFile */
function mountFileInput(openFile) {
  const input = byId("file-input");
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = "";
    if (file) openFile(file);
  });
  byId("drop-zone").addEventListener("click", () => input.click());
  byId("open-another").addEventListener("click", () => input.click());
  mountDropping(openFile);
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) openFile(file);
  });
}

/** @param {(file: File) => void} openFile */
function mountDropping(openFile) {
  const curtain = byId("drop-curtain");
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    curtain.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) curtain.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    curtain.hidden = true;
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    openFile(file);
  });
}

/**
 * @param {typeof EXAMPLES[number]} example
 * @param {Workspace} workspace
 */
function exampleItem({ file, name, hint }, workspace) {
  const open = async () => {
    try {
      const response = await fetch(`examples/${file}`);
      await workspace.open(await response.blob(), file);
    } catch {
      workspace.notices.show("The example cannot be loaded: this site does not answer.");
    }
  };
  return element(
    "li",
    {},
    element(
      "button",
      { class: "card", type: "button", on: { click: open } },
      element("img", { src: `examples/${file}`, alt: "" }),
      element("span", { class: "card-text" }, element("strong", {}, name), element("span", {}, hint)),
    ),
  );
}

/**
 * @param {Works} works
 * @param {Workspace} workspace
 */
async function showRecent(works, workspace) {
  const stored = await works.list().catch(() => []);
  const section = byId("recent-section");
  section.hidden = stored.length === 0;
  const items = stored.map((work) => recentItem(work, works, workspace));
  byId("recent").replaceChildren(...items);
}

/**
 * @param {import("../state/works.js").Work} work
 * @param {Works} works
 * @param {Workspace} workspace
 */
function recentItem(work, works, workspace) {
  const text = countedObjects(work.history.present.objects.length);
  const image = element("img", { src: URL.createObjectURL(work.thumbnail), alt: "" });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  const forget = async () => {
    await works.remove(work.id);
    await showRecent(works, workspace);
  };
  return element(
    "li",
    {},
    element(
      "button",
      { class: "card", type: "button", on: { click: () => workspace.restore(work.id) } },
      image,
      element("span", { class: "card-text" }, element("strong", {}, work.name), element("span", {}, text)),
    ),
    element(
      "button",
      { class: "icon-button small forget", type: "button", "aria-label": `Forget ${work.name}`, title: "Forget it", on: { click: forget } },
      icon("close"),
    ),
  );
}

/**
 * @param {import("../state/app_state.js").AppState} state
 * @param {import("../types.js").Engine} engine
 */
function showModel({ information }, engine) {
  if (!information) return;
  const { name, parameters } = information.model;
  const size = parameters ? `, ${(parameters / 1e6).toFixed(parameters < 1e8 ? 1 : 0)} million parameters` : "";
  byId("model-line").textContent = `Model ${name}${size}. ${engine.privacyText}`;
}
