/** The project of the server over HTTP. */

/** @import {ImageDescription, PhotoDocument, PhotoObject} from "../types.js" */
/** @import {Waiting} from "../engine/api_client.js" */

import { ApiClient } from "../engine/api_client.js";

/**
 * @typedef {object} ProjectPhoto
 * @property {string} id
 * @property {string} name
 * @property {number} version
 * @property {boolean} done
 * @property {number} objects
 * @property {number} proposals
 * @property {boolean} missing
 *
 * @typedef {{version: number, names: string[]}} ProjectClasses
 * @typedef {{name: string, classes: ProjectClasses, photos: ProjectPhoto[]}} ProjectDescription
 *
 * @typedef {object} AnnotatedPhoto
 * @property {string} id
 * @property {string} name
 * @property {number} version
 * @property {boolean} done
 * @property {number} width
 * @property {number} height
 * @property {PhotoObject[]} objects
 * @property {string[]} notes
 *
 * @typedef {object} PhotoEdit
 * @property {number} version
 * @property {number} width
 * @property {number} height
 * @property {boolean} done
 * @property {PhotoObject[]} objects
 */

export class ProjectClient {
  #api = new ApiClient();

  /** @returns {Promise<ProjectDescription>} */
  describe() {
    return this.#api.ask("GET", "project");
  }

  /**
   * @param {ProjectClasses} classes
   * @returns {Promise<ProjectClasses>}
   */
  setClasses(classes) {
    return this.#api.ask("PUT", "project/classes", classes);
  }

  /**
   * @param {string} id
   * @returns {Promise<AnnotatedPhoto>}
   */
  photo(id) {
    return this.#api.ask("GET", `project/photos/${id}`);
  }

  /**
   * Store all objects of a photo.
   * @param {string} id
   * @param {PhotoEdit} edit
   * @returns {Promise<ProjectPhoto>}
   */
  store(id, edit) {
    return this.#api.ask("PUT", `project/photos/${id}`, edit);
  }

  /**
   * Let the server encode a photo.
   * @param {string} id
   * @param {Waiting} waiting
   * @returns {Promise<ImageDescription>}
   */
  encode(id, waiting = {}) {
    return this.#api.ask("POST", `project/photos/${id}/image`, undefined, waiting);
  }

  /**
   * @param {string} id
   * @returns {Promise<Blob>}
   */
  async thumbnail(id) {
    const response = await this.#api.send("GET", `project/photos/${id}/thumbnail`);
    return response.blob();
  }

  /**
   * @param {Blob} file
   * @param {"keep" | "replace"} existing
   * @returns {Promise<{photos: number, objects: number, notes: string[]}>}
   */
  importCoco(file, existing) {
    return this.#api.ask("POST", `project/import?existing=${existing}`, file);
  }

  /**
   * @param {string} format
   * @param {"done" | "annotated"} which
   * @param {boolean} hasPhotos
   * @returns {Promise<Blob>}
   */
  async export(format, which, hasPhotos) {
    const query = new URLSearchParams({ format, which, photos: String(hasPhotos) });
    const response = await this.#api.send("GET", `project/export?${query}`);
    return response.blob();
  }

  /**
   * Write the data set that training takes beside the photos.
   * @param {"done" | "annotated"} which
   * @returns {Promise<{file: string, photos: number, objects: number, command: string}>}
   */
  writeDataset(which) {
    return this.#api.ask("POST", `project/dataset?which=${which}`);
  }
}

/**
 * Return an object as the server stores it. Prompts that refer to other pictures are left out with all others, since
 * these pictures are in this browser alone: the mask says what the object is.
 * @param {PhotoObject} object
 * @returns {PhotoObject}
 */
export function toStored(object) {
  const { id, label, score, color, visible, prompts, erased, mask, source, proposed = false } = object;
  const isStorable = prompts.every(({ kind }) => kind !== "reference");
  return { id, label, score, color, visible, prompts: isStorable ? prompts : [], erased, mask, source, proposed };
}

/**
 * @param {PhotoObject[]} objects
 * @returns {PhotoDocument}
 */
export function documentOf(objects) {
  return { objects, nextId: Math.max(0, ...objects.map(({ id }) => id)) + 1 };
}
