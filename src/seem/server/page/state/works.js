/** What people have done, stored in the browser: photos with their objects, for the next visit. */

/** @import {PhotoDocument} from "../types.js" */
/** @import {History} from "./history.js" */
/** @import {Video} from "../video_tracking.js" */

/**
 * @typedef {object} Work
 * @property {string} id
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {Blob} file
 * @property {Blob} thumbnail
 * @property {string | null} imageId  what the engine calls the photo
 * @property {History<PhotoDocument>} history
 * @property {Record<string, {file: Blob, name: string}>} references  other pictures that prompts refer to
 * @property {string[]} classes
 * @property {Video | null} video
 * @property {number} changed  milliseconds since 1970
 * @property {string} [revision]  another one each time it is stored
 */

const DATABASE = "seem";
const STORE = "works";
const CHANNEL = "seem works"; // of all tabs with this page
const MAX_WORKS = 24;

export class Works {
  /** @type {Promise<IDBDatabase> | null} */
  #database = null;
  #channel = new BroadcastChannel(CHANNEL);

  /**
   * Call a function when another tab has stored a work.
   * @param {(id: string) => void} listener
   */
  whenStoredElsewhere(listener) {
    this.#channel.onmessage = ({ data }) => listener(data);
  }

  /**
   * @param {string} id
   * @returns {Promise<Work | undefined>}
   */
  get(id) {
    return this.#run("readonly", (store) => store.get(id));
  }

  /**
   * Return all works, the last changed first.
   * @returns {Promise<Work[]>}
   */
  async list() {
    const works = await this.#run("readonly", (store) => store.getAll());
    return works.sort((/** @type {Work} */ a, /** @type {Work} */ b) => b.changed - a.changed);
  }

  /**
   * Store a work; the oldest ones leave.
   * @param {string} id
   * @param {(stored: Work | undefined) => Work} change  what is stored, to what shall be: no other tab is in between
   */
  async update(id, change) {
    await this.#run("readwrite", (store) => {
      const request = store.get(id);
      request.onsuccess = () => store.put(change(request.result));
      return request;
    });
    this.#channel.postMessage(id);
    const works = await this.list();
    for (const old of works.slice(MAX_WORKS)) await this.remove(old.id);
  }

  /** @param {string} id */
  remove(id) {
    return this.#run("readwrite", (store) => store.delete(id));
  }

  /**
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest} act
   * @returns {Promise<any>}
   */
  async #run(mode, act) {
    this.#database ??= openDatabase();
    const transaction = (await this.#database).transaction(STORE, mode);
    const request = act(transaction.objectStore(STORE));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = () => reject(transaction.error);
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

/** @returns {Promise<IDBDatabase>} */
function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
