/** The pictures that the engine is asked about: encoded when first needed, and again when it has forgotten them. */

/** @import {Engine, ImageDescription, Prompt, ReferencePrompt} from "../types.js" */
/** @import {Waiting} from "./server_engine.js" */

import { EngineError } from "./engine_error.js";

export class EncodedImages {
  #engine;
  /** @type {Map<string, (waiting: Waiting) => Promise<ImageDescription>>} */
  #encoders = new Map();
  /** @type {Map<string, Promise<string>>} */
  #ids = new Map();

  /** @param {Engine} engine */
  constructor(engine) {
    this.#engine = engine;
  }

  /** Forget all pictures. */
  clear() {
    this.#encoders.clear();
    this.#ids.clear();
  }

  /**
   * Make a picture known under a key.
   * @param {string} key
   * @param {Blob} file
   * @param {string} name
   * @param {string | null} [id]  what the engine calls it, where it has been encoded before
   */
  add(key, file, name, id = null) {
    this.addEncoder(key, (waiting) => this.#engine.encode(file, name, waiting));
    if (id !== null) this.#ids.set(key, Promise.resolve(id));
  }

  /**
   * Make a picture known under a key that the engine has no file of yet: `encode` lets it be encoded.
   * @param {string} key
   * @param {(waiting: Waiting) => Promise<ImageDescription>} encode
   */
  addEncoder(key, encode) {
    this.#encoders.set(key, encode);
  }

  /**
   * Return what the engine calls a picture, which is encoded if it has to be.
   * @param {string} key
   * @param {Waiting} waiting
   * @returns {Promise<string>}
   */
  idOf(key, waiting = {}) {
    let id = this.#ids.get(key);
    if (!id) {
      id = this.#encode(key, waiting);
      this.#ids.set(key, id);
      id.catch(() => this.#ids.delete(key));
    }
    return id;
  }

  /**
   * @param {string} key
   * @param {Waiting} waiting
   */
  async #encode(key, waiting) {
    const encode = this.#encoders.get(key);
    if (!encode) throw new EngineError("gone", "The second picture is gone; choose it again.");
    return (await encode(waiting)).id;
  }

  /**
   * Do something with the id of a picture; once more with a new one if the engine has forgotten it.
   * @template T
   * @param {string} key
   * @param {(id: string) => Promise<T>} use
   * @returns {Promise<T>}
   */
  async withId(key, use) {
    try {
      return await use(await this.idOf(key));
    } catch (error) {
      if (!(error instanceof EngineError) || !error.isForgotten) throw error;
      this.#ids.clear();
      return use(await this.idOf(key));
    }
  }

  /**
   * Return prompts as the engine takes them: references name encoded images.
   * @param {Prompt[]} prompts
   * @returns {Promise<any[]>}
   */
  resolve(prompts) {
    return Promise.all(
      prompts.map((prompt) => (prompt.kind === "reference" ? this.#resolveOne(prompt) : prompt)),
    );
  }

  /** @param {ReferencePrompt} prompt */
  async #resolveOne({ kind, image, prompts }) {
    return { kind, image_id: await this.idOf(image), prompts };
  }
}
