/** Requests to the server's API: the token, errors in words, uploads with progress. */

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

export class ApiClient {
  #base = new URL("v1/", document.baseURI);

  /**
   * Ask for every address with this token, until the tab is closed.
   * @param {string} token
   */
  useToken(token) {
    sessionStorage.setItem(TOKEN_KEY, token);
  }

  /**
   * Send a request and read the JSON of its answer.
   * @param {string} method
   * @param {string} path
   * @param {object | Blob} [body]  a file, or what becomes JSON
   * @param {Waiting} [waiting]
   * @returns {Promise<any>}
   */
  async ask(method, path, body, waiting) {
    const response = await this.send(method, path, body, waiting);
    return response.json();
  }

  /**
   * Send a request; a busy server is asked again when it says so.
   * @param {string} method
   * @param {string} path
   * @param {object | Blob} [body]
   * @param {Waiting} [waiting]
   */
  async send(method, path, body, waiting = {}) {
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
   * @param {object | Blob | undefined} body
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
        body: body === undefined || body instanceof Blob ? body : JSON.stringify(body),
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
  upload(path, file, { signal, onProgress }) {
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

/**
 * Return an object of an answer with its mask as prompts and exports take it.
 * @param {any} object
 */
export function withPlainMask(object) {
  const { size, counts } = object.mask;
  return { ...object, mask: { size, counts } };
}
