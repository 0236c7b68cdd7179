/**
 * The engine that asks the server: encodes images, and answers questions about them.
 *
 * Whatever has its public members can take its place (`Engine`): `BrowserEngine` does, for pages without a server.
 */

/** @import {Answer, ImageDescription, Prompt} from "../types.js" */

import { ApiClient, withPlainMask } from "./api_client.js";
import { EngineError } from "./engine_error.js";

/** @typedef {import("./api_client.js").Waiting} Waiting */

export { pause } from "./api_client.js";

export class ServerEngine {
  takesVideos = true;
  transferText = "Uploading";
  privacyText = "Photos go to this server alone and are forgotten after an hour; your work is stored in this browser.";
  #api = new ApiClient();

  /**
   * Ask for every address with this token, until the tab is closed.
   * @param {string} token
   */
  useToken(token) {
    this.#api.useToken(token);
  }

  /** Describe the model and the limits. */
  describe() {
    return this.#api.ask("GET", "info");
  }

  /** Resolve when photos can be encoded: the server has its model. */
  async ready() {}

  /**
   * Upload a picture and encode it.
   * @param {Blob} file
   * @param {string} name
   * @param {Waiting} waiting
   * @returns {Promise<ImageDescription>}
   */
  encode(file, name, waiting = {}) {
    return this.#api.upload(`images?name=${encodeURIComponent(name)}`, file, waiting);
  }

  /**
   * Return an encoded image as a picture that every browser draws.
   * @param {string} imageId
   * @param {"png" | "jpeg"} form
   * @returns {Promise<Blob>}
   */
  async picture(imageId, form = "png") {
    const response = await this.#api.send("GET", `images/${imageId}/picture?form=${form}`);
    return response.blob();
  }

  /**
   * Tell whether an image can still be asked about.
   * @param {string} imageId
   */
  async hasImage(imageId) {
    try {
      await this.#api.send("GET", `images/${imageId}`);
      return true;
    } catch (error) {
      if (error instanceof EngineError && error.isForgotten) return false;
      throw error;
    }
  }

  /**
   * Segment the one object that prompts describe.
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
   * Ask about the image.
   * @param {string} imageId
   * @param {"segment" | "panoptic" | "instances" | "everything" | "find"} task
   * @param {object} question
   * @param {Waiting} waiting
   * @returns {Promise<Answer>}
   */
  async question(imageId, task, question, waiting = {}) {
    const answer = await this.#api.ask("POST", `images/${imageId}/${task}`, question, waiting);
    return { ...answer, objects: answer.objects.map(withPlainMask) };
  }

  /**
   * Write annotations in the format of another tool.
   * @param {object} request
   * @returns {Promise<Blob>}
   */
  async exportAnnotations(request) {
    const response = await this.#api.send("POST", "export", request);
    return response.blob();
  }

  /**
   * @param {Blob} file
   * @param {string} name
   * @param {Waiting} waiting
   */
  uploadVideo(file, name, waiting = {}) {
    return this.#api.upload(`videos?name=${encodeURIComponent(name)}`, file, waiting);
  }

  /**
   * Encode a frame of a video.
   * @param {string} videoId
   * @param {number} index
   * @returns {Promise<ImageDescription>}
   */
  encodeFrame(videoId, index) {
    return this.#api.ask("POST", `videos/${videoId}/frames/${index}/image`);
  }

  /**
   * Begin to follow objects through a video.
   * @param {string} videoId
   * @param {{id: number, frame: number, prompts: Prompt[]}[]} objects
   */
  track(videoId, objects) {
    return this.#api.ask("POST", `videos/${videoId}/jobs`, { objects });
  }

  /** @param {string} jobId */
  job(jobId) {
    return this.#api.ask("GET", `jobs/${jobId}`);
  }

  /** @param {string} jobId */
  async stopJob(jobId) {
    await this.#api.send("DELETE", `jobs/${jobId}`);
  }

  /**
   * @param {string} jobId
   * @param {number} start
   */
  async jobFrames(jobId, start) {
    const answer = await this.#api.ask("GET", `jobs/${jobId}/frames?start=${start}&count=50`);
    const frames = answer.frames.map((/** @type {any} */ frame) => ({ ...frame, objects: frame.objects.map(withPlainMask) }));
    return { ...answer, frames };
  }

  /**
   * @param {string} jobId
   * @param {string} format
   * @returns {Promise<Blob>}
   */
  async exportTracks(jobId, format) {
    const response = await this.#api.send("GET", `jobs/${jobId}/export?format=${format}`);
    return response.blob();
  }
}
