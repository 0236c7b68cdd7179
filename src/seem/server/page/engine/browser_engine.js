/**
 * The engine without a server: nano in this browser, by ONNX Runtime, in a worker so that the page stays alive.
 *
 * It has the methods of `ServerEngine`. Videos need the server.
 */

/** @import {Answer, ImageDescription, Prompt} from "../types.js" */
/** @import {Waiting} from "./server_engine.js" */
/** @import {Reply} from "./in_browser/worker.js" */

import { cocoFile } from "../export/coco_file.js";
import { newId } from "../state/new_id.js";
import { EngineError } from "./engine_error.js";
import { CPU_ONLY } from "./in_browser/graphs.js";

const NO_VIDEO = "Videos need the server.";
const WORKER_FAILED = "The model cannot be started in this browser; try a newer one.";

/**
 * @typedef {object} Call
 * @property {string} method
 * @property {any[]} values
 * @property {(answer: any) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {(fraction: number) => void} [onProgress]
 */

/**
 * @param {any[]} _values
 * @returns {Promise<never>}
 */
async function refuseVideo(..._values) {
  throw new EngineError("unsupported-media-type", NO_VIDEO);
}

export class BrowserEngine {
  takesVideos = false;
  uploadVideo = refuseVideo;
  encodeFrame = refuseVideo;
  track = refuseVideo;
  job = refuseVideo;
  jobFrames = refuseVideo;
  stopJob = refuseVideo;
  exportTracks = refuseVideo;
  transferText = "Loading the model";
  privacyText = "It runs in this browser: your photos stay on this device.";
  #worker = this.#startWorker();
  /** @type {Map<number, Call>} */
  #calls = new Map();
  #lastId = 0;

  /** @param {string} [name] */
  #startWorker(name) {
    const worker = new Worker(new URL("in_browser/worker.js", import.meta.url), { type: "module", name });
    worker.onmessage = ({ data }) => this.#receive(data);
    worker.onerror = () => this.#fail(new EngineError("internal", WORKER_FAILED));
    return worker;
  }

  /** Ask again what has not been answered, without the graphics card; photos are encoded again when they are needed. */
  #restartWithoutGpu() {
    this.#worker.terminate();
    this.#worker = this.#startWorker(CPU_ONLY);
    for (const [id, { method, values }] of this.#calls) this.#worker.postMessage({ id, method, values });
  }

  /** There is no server, and no token. */
  useToken() {}

  /** Describe the model. */
  async describe() {
    const model = await this.#call("describe", []);
    return { model, image_formats: ["coco"], video_formats: [] };
  }

  /**
   * Load the model.
   * @returns {Promise<void>}
   */
  ready() {
    return this.#call("prepare", []);
  }

  /**
   * @param {Blob} file
   * @param {string} name
   * @param {Waiting} waiting
   * @returns {Promise<ImageDescription>}
   */
  async encode(file, name, waiting = {}) {
    const id = newId();
    const size = await this.#call("encode", [id, file], waiting);
    return { id, name, ...size };
  }

  /**
   * Refuse to show a picture: what this browser cannot decode, the model in it cannot either.
   * @returns {Promise<Blob>}
   */
  async picture() {
    throw new EngineError("unreadable", "This browser cannot show the picture.");
  }

  /**
   * @param {string} imageId
   * @returns {Promise<boolean>}
   */
  hasImage(imageId) {
    return this.#call("hasImage", [imageId]);
  }

  /**
   * @param {string} imageId
   * @param {Prompt[]} prompts
   * @param {{labels?: boolean}} options
   * @param {Waiting} waiting
   * @returns {Promise<Answer>}
   */
  segment(imageId, prompts, options = {}, waiting = {}) {
    return this.question(imageId, "segment", { prompts, ...options }, waiting);
  }

  /**
   * @param {string} imageId
   * @param {string} task
   * @param {object} question
   * @param {Waiting} waiting
   * @returns {Promise<Answer>}
   */
  question(imageId, task, question, waiting = {}) {
    return this.#call(task, [imageId, question], waiting);
  }

  /**
   * @param {import("../export/coco_file.js").ExportRequest} request
   * @returns {Promise<Blob>}
   */
  async exportAnnotations(request) {
    return cocoFile(request);
  }

  /**
   * Ask the worker; an answer that nobody waits for is dropped, and not computed if that has not begun.
   * @param {string} method
   * @param {any[]} values
   * @param {Waiting} waiting
   * @returns {Promise<any>}
   */
  #call(method, values, { signal, onProgress } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      this.#lastId += 1;
      const id = this.#lastId;
      this.#calls.set(id, { method, values, resolve, reject, onProgress });
      this.#worker.postMessage({ id, method, values });
      signal?.addEventListener("abort", () => this.#cancel(id, signal.reason), { once: true });
    });
  }

  /**
   * @param {number} id
   * @param {unknown} reason
   */
  #cancel(id, reason) {
    const call = this.#calls.get(id);
    if (!call) return;
    this.#calls.delete(id);
    this.#worker.postMessage({ cancel: id });
    call.reject(reason);
  }

  /** @param {Reply} reply */
  #receive({ id, answer, problem, progress }) {
    if (progress !== undefined) {
      for (const call of this.#calls.values()) call.onProgress?.(progress); // all of them wait for the model
      return;
    }
    if (problem?.kind === "no-gpu") {
      this.#restartWithoutGpu();
      return;
    }
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (problem) call?.reject(new EngineError(problem.kind, problem.message));
    else call?.resolve(answer);
  }

  /** @param {EngineError} error */
  #fail(error) {
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
  }
}
