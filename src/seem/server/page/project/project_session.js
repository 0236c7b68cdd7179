/** What people can do with a project: go from photo to photo, store, propose, accept, finish. */

/** @import {PhotoDocument} from "../types.js" */
/** @import {Workspace, WholeTask} from "../workspace.js" */
/** @import {AnnotatedPhoto, ProjectClasses, ProjectPhoto} from "./project_client.js" */

import { EngineError } from "../engine/engine_error.js";
import { objectsOf } from "../state/app_state.js";
import { addObjects } from "../state/document.js";
import { Store, whenChanged } from "../state/store.js";
import { PhotoStorage } from "./photo_storage.js";
import { ProjectClient, documentOf } from "./project_client.js";

const REFRESH_MILLISECONDS = 10_000;
const ADDRESS_PREFIX = "photo/";

/**
 * @typedef {object} ProjectState
 * @property {string | null} name  null where the server has no project
 * @property {ProjectClasses} classes
 * @property {ProjectPhoto[]} photos
 * @property {string | null} photoId  of the photo that is open
 * @property {"stored" | "storing" | "failed" | "refused"} storing
 * @property {AnnotatedPhoto | null} conflict  what somebody else has stored meanwhile
 * @property {{done: number, total: number} | null} proposing  for how many photos
 */

/** @type {ProjectState} */
const NO_PROJECT = {
  name: null,
  classes: { version: 0, names: [] },
  photos: [],
  photoId: null,
  storing: "stored",
  conflict: null,
  proposing: null,
};

export class ProjectSession {
  store = new Store(NO_PROJECT);
  client = new ProjectClient();
  #workspace;
  /** @type {PhotoStorage | null} */
  #storage = null;
  /** @type {Promise<unknown>} */
  #classEdits = Promise.resolve();
  #proposing = new AbortController();

  /** @param {Workspace} workspace */
  constructor(workspace) {
    this.#workspace = workspace;
  }

  get state() {
    return this.store.state;
  }

  /** The photo that is open. */
  get photo() {
    return this.state.photos.find(({ id }) => id === this.state.photoId) ?? null;
  }

  /**
   * Show the project, and the photo that the address of the page names.
   * @param {string} address
   */
  async begin(address) {
    await this.refresh();
    setInterval(() => {
      if (!document.hidden && this.state.photoId === null) this.refresh();
    }, REFRESH_MILLISECONDS);
    this.#workspace.store.subscribe(
      whenChanged(({ photo }) => [photo?.workId], ({ photo }) => {
        if (!photo && this.state.photoId !== null) this.#leave();
      }),
    );
    addEventListener("beforeunload", (event) => {
      if (this.#storage?.isDirty) event.preventDefault();
    });
    if (address.startsWith(ADDRESS_PREFIX)) await this.open(address.slice(ADDRESS_PREFIX.length));
  }

  /** List the photos again. */
  async refresh() {
    try {
      const { name, classes, photos } = await this.client.describe();
      const isSame = JSON.stringify(photos) === JSON.stringify(this.state.photos);
      this.store.set({ name, classes, photos: isSame ? this.state.photos : photos });
    } catch (error) {
      this.#workspace.report(error, () => this.refresh());
    }
  }

  /**
   * Open a photo.
   * @param {string} id
   */
  async open(id) {
    await this.close();
    if (this.state.conflict) return;
    try {
      const photo = await this.client.photo(id);
      const storage = new PhotoStorage(this.client, photo, this.#storageEvents(id));
      this.#storage = storage;
      this.store.set({ photoId: id, storing: "stored", conflict: null });
      for (const note of photo.notes) this.#workspace.notices.show(note);
      await this.#workspace.openStored({
        id: ADDRESS_PREFIX + id,
        name: photo.name,
        document: documentOf(photo.objects),
        classes: this.state.classes.names,
        encode: (waiting) => this.client.encode(id, waiting),
        store: (document, classes) => this.#storeAll(storage, document, classes),
      });
      this.#encodeNext();
    } catch (error) {
      this.#workspace.report(error, () => this.open(id));
    }
  }

  /** Store what is open and go back to all photos. */
  async close() {
    if (this.#storage) await this.#workspace.save();
    if (this.state.conflict) return;
    if (this.state.photoId === null) return;
    this.#leave();
    this.#workspace.close();
  }

  #leave() {
    this.#storage = null;
    this.store.set({ photoId: null, conflict: null });
  }

  /**
   * Open the photo after or before this one.
   * @param {1 | -1} step
   */
  async step(step) {
    const next = this.#neighbour(step);
    if (next) await this.open(next.id);
  }

  /** Open the first photo after this one that is not done; go back to all photos where there is none. */
  async openNextUndone() {
    const { photos, photoId } = this.state;
    const index = photos.findIndex(({ id }) => id === photoId);
    const inOrder = [...photos.slice(index + 1), ...photos.slice(0, Math.max(index, 0))];
    const next = inOrder.find(({ done, missing }) => !done && !missing);
    if (next) await this.open(next.id);
    else {
      await this.close();
      await this.refresh();
      this.#workspace.notices.show("All photos are done. Export the project, or train a model on it.");
    }
  }

  /** Accept what is proposed, mark the photo as done, go on. */
  async finish() {
    if (!this.#storage) return;
    const { workspace } = this;
    workspace.accept(objectsOf(workspace.state).flatMap(({ id, proposed }) => (proposed ? [id] : [])));
    await this.#storage.store(workspace.state.history.present, true);
    if (!this.state.conflict) await this.openNextUndone();
  }

  /** Mark the photo as not done. */
  async reopen() {
    await this.#storage?.store(this.workspace.state.history.present, false);
  }

  get workspace() {
    return this.#workspace;
  }

  /**
   * Propose objects for the open photo.
   * @param {"classes" | "everything"} what
   */
  propose(what) {
    const { store } = this.#workspace;
    store.set({ usesClasses: what === "classes" });
    this.#workspace.segmentWhole(what === "classes" ? "instances" : "panoptic");
  }

  /** Propose objects for all photos that have none: the classes of the project, or else everything. */
  async proposeForAll() {
    const todo = this.state.photos.filter((photo) => !photo.done && !photo.missing && photo.objects + photo.proposals === 0);
    this.#proposing = new AbortController();
    const { signal } = this.#proposing;
    try {
      for (const [i, photo] of todo.entries()) {
        this.store.set({ proposing: { done: i, total: todo.length } });
        await this.#proposeFor(photo, signal);
        if (signal.aborted) break;
      }
    } catch (error) {
      if (!signal.aborted) this.#workspace.report(error, () => this.proposeForAll());
    } finally {
      this.store.set({ proposing: null });
      await this.refresh();
    }
  }

  /** Propose for no more photos. */
  stopProposing() {
    this.#proposing.abort();
  }

  /**
   * @param {ProjectPhoto} photo
   * @param {AbortSignal} signal
   */
  async #proposeFor({ id }, signal) {
    const { names } = this.state.classes;
    /** @type {WholeTask} */
    const task = names.length > 0 ? "instances" : "panoptic";
    const question = { classes: names.length > 0 ? names : null };
    const { id: imageId } = await this.client.encode(id, { signal });
    const answer = await this.#workspace.engine.question(imageId, task, question, { signal });
    const found = answer.objects
      .filter(({ area }) => area > 0)
      .map(({ label, score, mask }) => ({ label, score, mask, visible: true, prompts: [], erased: [], source: "whole", proposed: true }));
    const { version, width, height, done, objects } = await this.client.photo(id);
    if (objects.length > 0 || found.length === 0) return; // somebody was faster
    const document = addObjects(documentOf([]), found);
    try {
      const stored = await this.client.store(id, { version, width, height, done, objects: document.objects });
      this.#replacePhoto(stored);
    } catch (error) {
      if (!(error instanceof EngineError) || error.kind !== "edit-conflict") throw error;
    }
  }

  /**
   * Decide a conflict.
   * @param {boolean} takesTheirs
   */
  async resolve(takesTheirs) {
    const { conflict } = this.state;
    if (!conflict || !this.#storage) return;
    this.store.set({ conflict: null });
    const resolved = this.#storage.resolve(conflict, takesTheirs);
    if (takesTheirs) {
      this.#workspace.replaceDocument(documentOf(conflict.objects));
      this.#replacePhoto({ ...conflict, ...countsOf(conflict), missing: false });
      this.store.set({ storing: "stored" });
    }
    await resolved;
  }

  /**
   * Import a COCO file into the project.
   * @param {File} file
   * @param {"keep" | "replace"} existing
   */
  async importCoco(file, existing) {
    const { photos, objects, notes } = await this.client.importCoco(file, existing);
    await this.refresh();
    return { photos, objects, notes };
  }

  /**
   * @param {PhotoStorage} storage
   * @param {PhotoDocument} document
   * @param {string[]} classes
   */
  #storeAll(storage, document, classes) {
    this.#storeClasses(classes);
    if (this.state.conflict) return Promise.resolve();
    const storing = storage.store(document);
    if (storage.isDirty) this.store.set({ storing: "storing" });
    return storing;
  }

  /** @param {string[]} names */
  #storeClasses(names) {
    this.#classEdits = this.#classEdits.then(async () => {
      const { classes } = this.state;
      if (names.join("\n") === classes.names.join("\n")) return;
      try {
        this.store.set({ classes: await this.client.setClasses({ version: classes.version, names }) });
      } catch (error) {
        await this.refresh(); // the next change is made to the latest classes
        this.#workspace.report(error);
      }
    });
  }

  /**
   * @param {string} id
   * @returns {import("./photo_storage.js").StorageEvents}
   */
  #storageEvents(id) {
    const isOpen = () => this.state.photoId === id;
    return {
      stored: (photo) => {
        this.#replacePhoto(photo);
        if (isOpen()) this.store.set({ storing: "stored" });
      },
      failed: (error) => {
        if (!isOpen()) return;
        this.store.set({ storing: "failed" });
        if (error.kind === "unauthorized") this.#workspace.report(error);
      },
      refused: (error) => {
        if (isOpen()) this.store.set({ storing: "refused" });
        this.#workspace.report(error);
      },
      conflict: (theirs) => this.store.set({ conflict: theirs }),
    };
  }

  /** @param {ProjectPhoto} photo */
  #replacePhoto(photo) {
    const photos = this.state.photos.map((each) => (each.id === photo.id ? photo : each));
    this.store.set({ photos });
  }

  /** @param {1 | -1} step */
  #neighbour(step) {
    const { photos, photoId } = this.state;
    const index = photos.findIndex(({ id }) => id === photoId);
    if (index < 0) return null;
    const others = step > 0 ? photos.slice(index + 1) : photos.slice(0, index).reverse();
    return others.find(({ missing }) => !missing) ?? null;
  }

  /** Encode the next photo while a person looks at this one. */
  #encodeNext() {
    const next = this.#neighbour(1);
    if (next) this.client.encode(next.id).catch(() => {}); // it is encoded when it is opened
  }
}

/** @param {AnnotatedPhoto} photo */
function countsOf({ objects }) {
  const proposals = objects.filter(({ proposed }) => proposed).length;
  return { objects: objects.length - proposals, proposals };
}
