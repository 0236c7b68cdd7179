/**
 * Stores the objects of one photo on the server: the latest state, one request at a time, again until it is there.
 */

/** @import {PhotoDocument, PhotoObject} from "../types.js" */
/** @import {AnnotatedPhoto, ProjectClient, ProjectPhoto} from "./project_client.js" */

import { EngineError } from "../engine/engine_error.js";
import { toStored } from "./project_client.js";

const RETRY_MILLISECONDS = 3000;
const REFUSALS = ["invalid-request", "not-found", "too-large"]; // which another try does not change

/**
 * @typedef {object} StorageEvents
 * @property {(photo: ProjectPhoto) => void} stored
 * @property {(error: EngineError) => void} failed  it is tried again
 * @property {(error: EngineError) => void} refused  nothing is stored until the next change
 * @property {(theirs: AnnotatedPhoto) => void} conflict  nothing is stored until `resolve`
 */

export class PhotoStorage {
  #client;
  #photo;
  #events;
  /** @type {PhotoObject[]} */
  #objects; // the latest state
  #done;
  #stored; // as text, what the server has
  /** @type {Promise<void> | null} */
  #running = null;
  #isInConflict = false;
  #isRefused = false;

  /**
   * @param {ProjectClient} client
   * @param {AnnotatedPhoto} photo
   * @param {StorageEvents} events
   */
  constructor(client, photo, events) {
    this.#client = client;
    this.#photo = photo;
    this.#events = events;
    this.#objects = photo.objects.map(toStored);
    this.#done = photo.done;
    this.#stored = this.#text();
  }

  /** Whether something is not stored yet. */
  get isDirty() {
    return this.#text() !== this.#stored;
  }

  get isDone() {
    return this.#done;
  }

  /**
   * Store a state of the photo, and whether it is done.
   * @param {PhotoDocument} document
   * @param {boolean} done
   * @returns {Promise<void>}  when everything so far is stored
   */
  store(document, done = this.#done) {
    this.#objects = document.objects.map(toStored);
    this.#done = done;
    this.#isRefused = false;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /**
   * Go on after a conflict, from their version.
   * @param {AnnotatedPhoto} theirs
   * @param {boolean} takesTheirs  or else stores the own state over it
   */
  resolve(theirs, takesTheirs) {
    this.#photo = theirs;
    this.#isInConflict = false;
    this.#stored = JSON.stringify([theirs.objects.map(toStored), theirs.done]);
    if (!takesTheirs) return this.store({ objects: this.#objects, nextId: 0 });
    this.#objects = theirs.objects.map(toStored);
    this.#done = theirs.done;
    return Promise.resolve();
  }

  #text() {
    return JSON.stringify([this.#objects, this.#done]);
  }

  async #run() {
    while (this.isDirty && !this.#isInConflict && !this.#isRefused) {
      const text = this.#text();
      try {
        const photo = await this.#client.store(this.#photo.id, this.#edit());
        this.#photo = { ...this.#photo, version: photo.version };
        this.#stored = text;
        this.#events.stored(photo);
      } catch (error) {
        await this.#handle(error).catch((/** @type {unknown} */ further) => this.#tryLater(further));
      }
    }
  }

  #edit() {
    const { version, width, height } = this.#photo;
    return { version, width, height, done: this.#done, objects: this.#objects };
  }

  /** @param {unknown} error */
  async #handle(error) {
    if (!(error instanceof EngineError)) throw error;
    if (error.kind === "edit-conflict") {
      await this.#compare();
      return;
    }
    if (REFUSALS.includes(error.kind)) {
      this.#isRefused = true;
      this.#events.refused(error);
      return;
    }
    await this.#tryLater(error);
  }

  /** @param {unknown} error */
  async #tryLater(error) {
    if (!(error instanceof EngineError)) throw error;
    this.#events.failed(error);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
  }

  /** Find out whether somebody else has stored something, or this page has and the answer was lost. */
  async #compare() {
    const theirs = await this.#client.photo(this.#photo.id);
    const text = JSON.stringify([theirs.objects.map(toStored), theirs.done]);
    if (text === this.#text()) {
      this.#photo = theirs;
      this.#stored = text;
      return;
    }
    this.#isInConflict = true;
    this.#events.conflict(theirs);
  }
}
