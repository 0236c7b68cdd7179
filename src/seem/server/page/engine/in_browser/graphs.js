/** The exported files of a model, and its graphs in ONNX Runtime. */

/** @import {SizeRules} from "./frame.js" */

import { EngineError } from "../engine_error.js";

const MAX_THREADS = 4; // more made nano slower
const CPU = "wasm";
const GPU_SECONDS = 20; // for a photo; a card that takes longer is of no use
export const CPU_ONLY = "cpu"; // the name of a worker that leaves the card alone

/**
 * @typedef {{data: any, dims: readonly number[]}} Tensor
 * @typedef {{run: (inputs: Record<string, Tensor>) => Promise<Record<string, Tensor>>}} Graph
 * @typedef {{id: number, name: string, phrase: string, is_thing: boolean, embedding: number[]}} ClassRecord
 *
 * @typedef {object} ModelRecord  what `preprocess.json` says
 * @property {string} model
 * @property {string} precision
 * @property {Record<string, {bytes: number, sha256: string}>} files
 * @property {SizeRules & {mean: number[], std: number[]}} image
 * @property {{begin: number, end: number, context: number}} text
 * @property {number} max_points
 * @property {number} temperature
 * @property {Record<string, number>} thresholds
 * @property {Record<string, {classes: ClassRecord[], background: {phrase: string, embedding: number[]}}>} classes
 */

/**
 * Fetch a file that lies beside the page.
 * @param {URL} address
 * @returns {Promise<Response>}
 */
export async function fetchFile(address) {
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new EngineError("unreachable", "The model cannot be loaded: this page's site does not answer.");
  }
  if (response.ok) return response;
  const name = address.pathname.split("/").pop();
  throw new EngineError("unreachable", `The model cannot be loaded: this page's site has no ${name}.`);
}

export class Graphs {
  #folder;
  #record;
  #onProgress;
  /** @type {Map<string, Promise<Graph>>} */
  #graphs = new Map();
  /** @type {Promise<any> | null} */
  #runtime = null;
  #usesGpu = false;

  /**
   * @param {URL} folder
   * @param {ModelRecord} record
   * @param {(fraction: number) => void} onProgress  of the graph that is being loaded
   */
  constructor(folder, record, onProgress) {
    this.#folder = folder;
    this.#record = record;
    this.#onProgress = onProgress;
  }

  /**
   * Run a graph, which is loaded when it is first needed.
   * @param {"image" | "text" | "prompts"} name
   * @param {Record<string, Tensor>} inputs
   * @returns {Promise<Record<string, Tensor>>}
   */
  async run(name, inputs) {
    const graph = await this.load(name);
    if (name !== "image" || !this.#usesGpu) return graph.run(inputs);
    try {
      return await inTime(graph.run(inputs), GPU_SECONDS);
    } catch {
      throw new EngineError("no-gpu", "The graphics card does not run the model.");
    }
  }

  /**
   * @param {"image" | "text" | "prompts"} name
   * @returns {Promise<Graph>}
   */
  load(name) {
    let graph = this.#graphs.get(name);
    if (!graph) {
      graph = this.#create(name);
      this.#graphs.set(name, graph);
      graph.catch(() => this.#graphs.delete(name));
    }
    return graph;
  }

  /**
   * Make a tensor.
   * @param {any} data
   * @param {number[]} dims
   * @returns {Promise<Tensor>}
   */
  async tensor(data, dims) {
    const { Tensor } = await this.#loadRuntime();
    return new Tensor(TYPES[data.constructor.name], data, dims);
  }

  /** @param {string} name */
  async #create(name) {
    const { InferenceSession } = await this.#loadRuntime();
    const content = await this.#content(`${name}.onnx`);
    const options = { graphOptimizationLevel: "all", logSeverityLevel: 3 };
    if (name === "image" && this.#usesGpu) {
      try {
        return await InferenceSession.create(content, { ...options, executionProviders: ["webgpu"] });
      } catch {
        this.#usesGpu = false; // a card that cannot run it
      }
    }
    return InferenceSession.create(content, { ...options, executionProviders: [CPU] });
  }

  #loadRuntime() {
    this.#runtime ??= this.#importRuntime();
    return this.#runtime;
  }

  async #importRuntime() {
    const folder = new URL("../runtime/", this.#folder);
    this.#usesGpu = await hasGpu();
    const { module, binary } = this.#usesGpu ? GPU_RUNTIME : CPU_RUNTIME;
    const runtime = await import(new URL(module, folder).href);
    runtime.env.wasm.wasmPaths = {
      mjs: new URL(`${binary}.js`, folder).href,
      wasm: new URL(`${binary}.wasm`, folder).href,
    };
    runtime.env.wasm.numThreads = threadCount();
    runtime.env.logLevel = "error";
    return runtime;
  }

  /**
   * Fetch a graph; one that is not the recorded one is refused.
   * @param {string} name
   */
  async #content(name) {
    const { bytes, sha256 } = this.#record.files[name];
    const response = await fetchFile(new URL(name, this.#folder));
    const content = await this.#readWithProgress(response, bytes);
    const isWhole = content.length === bytes && (await hasDigest(content, sha256));
    if (isWhole) return content;
    throw new EngineError("unreachable", `${name} is not the file of this version; reload the page.`);
  }

  /**
   * @param {Response} response
   * @param {number} bytes
   */
  async #readWithProgress(response, bytes) {
    const content = new Uint8Array(bytes);
    let position = 0;
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return content.subarray(0, position);
      if (position + value.length > bytes) return new Uint8Array(0);
      content.set(value, position);
      position += value.length;
      this.#onProgress(position / bytes);
    }
  }
}

/**
 * Wait for a promise, but not for ever.
 * @template T
 * @param {Promise<T>} promise
 * @param {number} seconds
 * @returns {Promise<T>}
 */
function inTime(promise, seconds) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`nothing after ${seconds} s`)), 1000 * seconds);
  });
  return Promise.race([promise, /** @type {Promise<T>} */ (late)]);
}

const CPU_RUNTIME = { module: "ort.wasm.min.js", binary: "ort-wasm-simd-threaded" };
const GPU_RUNTIME = { module: "ort.jspi.min.js", binary: "ort-wasm-simd-threaded.jspi" };

/** @type {Record<string, string>} */
const TYPES = { Float32Array: "float32", Uint8Array: "uint8", BigInt64Array: "int64" };

/**
 * Tell whether bytes have a SHA-256 (hexadecimal digits); browsers do not tell it to pages without TLS.
 * @param {Uint8Array<ArrayBuffer>} content
 * @param {string} sha256
 */
async function hasDigest(content, sha256) {
  if (!crypto.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}

/** Threads share memory, which only isolated pages may. */
function threadCount() {
  return globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MAX_THREADS) : 1;
}

/** Tell whether there is a graphics card that WebGPU reaches from WebAssembly; one played by the processor is none. */
async function hasGpu() {
  const { gpu } = /** @type {any} */ (navigator);
  if (!gpu || !("Suspending" in WebAssembly) || /** @type {any} */ (globalThis).name === CPU_ONLY) return false;
  try {
    const adapter = await gpu.requestAdapter();
    return adapter !== null && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false);
  } catch {
    return false;
  }
}
