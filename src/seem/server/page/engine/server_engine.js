/**
 * The engine that asks the server: encodes images, and answers questions about them.
 *
 * Whatever has its public members can take its place (`Engine`): `BrowserEngine` does, for pages without a server.
 */

/** @import {Answer, ImageDescription, Prompt} from "../types.js" */

import { EngineError } from "./engine_error.js";

const TOKEN_KEY = "seem.token";
const TYPE_PREFIX = "urn:seem:problem:";
const MAX_TRIES_WHEN_BUSY = 3;
const UNREACHABLE =
  "The server does not answer. See whether seem serve is still running, then try again.";

/**
 * @typedef {object} Waiting  how a caller waits
 * @property {AbortSignal} [signal]
 * @property {(fraction: number) => void} [onProgress]  of an upload, 0-1
 */

export class ServerEngine {
  takesVideos = true;
  transferText = "Uploading";
  privacyText = "Photos go to this server alone and are forgotten after an hour; your work is stored in this browser.";
  #base = new URL("v1/", document.baseURI);

  /**
   * Ask for every address with this token, until the tab is closed.
   * @param {string} token
   */
  useToken(token) {
    sessionStorage.setItem(TOKEN_KEY, token);
  }

  /** Describe the model and the limits. */
  describe() {
    return this.#ask("GET", "info");
  }

  /**
   * Upload a picture and encode it.
   * @param {Blob} file
   * @param {string} name
   * @param {Waiting} waiting
   * @returns {Promise<ImageDescription>}
   */
  encode(file, name, waiting = {}) {
    return this.#upload(`images?name=${encodeURIComponent(name)}`, file, waiting);
  }

  /**
   * Return an encoded image as a picture that every browser draws.
   * @param {string} imageId
   * @returns {Promise<Blob>}
   */
  async picture(imageId) {
    const response = await this.#send("GET", `images/${imageId}/picture?form=png`);
    return response.blob();
  }

  /**
   * Tell whether an image can still be asked about.
   * @param {string} imageId
   */
  async hasImage(imageId) {
    try {
      await this.#send("GET", `images/${imageId}`);
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
    const answer = await this.#ask("POST", `images/${imageId}/${task}`, question, waiting);
    return { ...answer, objects: answer.objects.map(withPlainMask) };
  }

  /**
   * Write annotations in the format of another tool.
   * @param {object} request
   * @returns {Promise<Blob>}
   */
  async exportAnnotations(request) {
    const response = await this.#send("POST", "export", request);
    return response.blob();
  }

  /**
   * @param {Blob} file
   * @param {string} name
   * @param {Waiting} waiting
   */
  uploadVideo(file, name, waiting = {}) {
    return this.#upload(`videos?name=${encodeURIComponent(name)}`, file, waiting);
  }

  /**
   * Encode a frame of a video.
   * @param {string} videoId
   * @param {number} index
   * @returns {Promise<ImageDescription>}
   */
  encodeFrame(videoId, index) {
    return this.#ask("POST", `videos/${videoId}/frames/${index}/image`);
  }

  /**
   * Begin to follow objects through a video.
   * @param {string} videoId
   * @param {{id: number, frame: number, prompts: Prompt[]}[]} objects
   */
  track(videoId, objects) {
    return this.#ask("POST", `videos/${videoId}/jobs`, { objects });
  }

  /** @param {string} jobId */
  job(jobId) {
    return this.#ask("GET", `jobs/${jobId}`);
  }

  /** @param {string} jobId */
  async stopJob(jobId) {
    await this.#send("DELETE", `jobs/${jobId}`);
  }

  /**
   * @param {string} jobId
   * @param {number} start
   */
  jobFrames(jobId, start) {
    return this.#ask("GET", `jobs/${jobId}/frames?start=${start}&count=50`);
  }

  /**
   * @param {string} jobId
   * @param {string} format
   * @returns {Promise<Blob>}
   */
  async exportTracks(jobId, format) {
    const response = await this.#send("GET", `jobs/${jobId}/export?format=${format}`);
    return response.blob();
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @param {Waiting} [waiting]
   * @returns {Promise<any>}
   */
  async #ask(method, path, body, waiting) {
    const response = await this.#send(method, path, body, waiting);
    return response.json();
  }

  /**
   * Send a request; a busy server is asked again when it says so.
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @param {Waiting} [waiting]
   */
  async #send(method, path, body, waiting = {}) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#sendOnce(method, path, body, waiting);
      } catch (error) {
        const isBusy = error instanceof EngineError && error.kind === "queue-full";
        if (!isBusy || tries === MAX_TRIES_WHEN_BUSY) throw error;
        await pause(error.retryAfter ?? 1, waiting.signal);
      }
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object | undefined} body
   * @param {Waiting} waiting
   */
  async #sendOnce(method, path, body, waiting) {
    const headers = this.#headers();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(new URL(path, this.#base), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: waiting.signal,
      });
    } catch (error) {
      if (error instanceof TypeError) throw new EngineError("unreachable", UNREACHABLE);
      throw error;
    }
    if (!response.ok) {
      const retryAfter = response.headers.get("Retry-After");
      throw problemOf(response.status, await response.text(), retryAfter);
    }
    return response;
  }

  /**
   * Send a file; `fetch` does not tell how far an upload is.
   * @param {string} path
   * @param {Blob} file
   * @param {Waiting} waiting
   * @returns {Promise<any>}
   */
  #upload(path, file, { signal, onProgress }) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", new URL(path, this.#base));
      for (const [name, value] of Object.entries(this.#headers())) {
        request.setRequestHeader(name, value);
      }
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.onprogress = (event) => onProgress?.(event.loaded / event.total);
      request.onload = () => {
        if (request.status < 300) resolve(JSON.parse(request.responseText));
        else reject(problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      };
      request.onerror = () => reject(new EngineError("unreachable", UNREACHABLE));
      request.onabort = () => reject(new DOMException("No longer wanted", "AbortError"));
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      request.send(file);
    });
  }

  /** @returns {Record<string, string>} */
  #headers() {
    const token = sessionStorage.getItem(TOKEN_KEY);
    return token ? { Authorization: `Bearer ${token}` } : {};
  }
}

/**
 * Return an object of an answer with its mask as prompts and exports take it.
 * @param {any} object
 */
function withPlainMask(object) {
  const { size, counts } = object.mask;
  return { ...object, mask: { size, counts } };
}

/**
 * Turn an error of the API into one that can be shown.
 * @param {number} status
 * @param {string} text
 * @param {string | null} retryAfter
 */
function problemOf(status, text, retryAfter) {
  const seconds = retryAfter === null ? null : Number(retryAfter);
  try {
    const problem = JSON.parse(text);
    return new EngineError(problem.type.replace(TYPE_PREFIX, ""), problem.detail, seconds);
  } catch {
    return new EngineError("internal", `The server answered with status ${status}.`, seconds);
  }
}

/**
 * Wait, or until nobody waits any more.
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}
