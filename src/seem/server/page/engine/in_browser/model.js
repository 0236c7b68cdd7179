/** nano in the browser: its class lists, phrases to vectors, photos to `EncodedPhoto`. */

/** @import {Size} from "./frame.js" */
/** @import {ClassRecord, ModelRecord, Tensor} from "./graphs.js" */
/** @import {Rows} from "./vectors.js" */

import { EncodedPhoto } from "./encoded_photo.js";
import { frameOf } from "./frame.js";
import { Graphs, fetchFile } from "./graphs.js";
import { resizeChannel } from "./resample.js";
import { Tokenizer } from "./tokenizer.js";
import { unit } from "./vectors.js";

const BACKGROUND = "background";
const MIN_TOKENS = 3;

/**
 * @typedef {{name: string, phrase: string, is_thing: boolean}} NamedClass
 * @typedef {{classes: NamedClass[], embeddings: Rows}} Vocabulary  the embedding of the background comes last
 * @typedef {{tokens: Rows, owners: number[], vectors: Rows}} Phrases  owners: the phrase of each token
 */

export class Model {
  /** @type {Tokenizer | null} */
  #tokenizer = null;
  #folder;
  /** @type {Vocabulary | null} */
  #usual = null;

  /**
   * @param {URL} folder
   * @param {ModelRecord} record
   * @param {(fraction: number) => void} onProgress
   */
  constructor(folder, record, onProgress) {
    this.#folder = folder;
    this.record = record;
    this.graphs = new Graphs(folder, record, onProgress);
  }

  /**
   * Read what an exported folder says about itself; graphs are loaded when they are first needed.
   * @param {URL} folder
   * @param {(fraction: number) => void} onProgress
   */
  static async load(folder, onProgress = () => {}) {
    const response = await fetchFile(new URL("preprocess.json", folder));
    return new Model(folder, await response.json(), onProgress);
  }

  /**
   * Run the image graph.
   * @param {{width: number, height: number, data: Uint8ClampedArray}} picture  RGBA
   */
  async encode(picture) {
    const frame = frameOf([picture.height, picture.width], this.record.image);
    const pixels = this.#pixels(picture, frame.network, frame.padded);
    const input = await this.graphs.tensor(pixels, [1, 3, ...frame.padded]);
    return new EncodedPhoto(this, frame, await this.graphs.run("image", { pixels: input }));
  }

  /**
   * Resize, normalise and pad a picture.
   * @param {{width: number, height: number, data: Uint8ClampedArray}} picture
   * @param {Size} network
   * @param {Size} padded
   */
  #pixels({ width, height, data }, network, padded) {
    const { mean, std } = this.record.image;
    const pixels = new Float32Array(3 * padded[0] * padded[1]);
    for (let channel = 0; channel < 3; channel += 1) {
      const plane = new Float32Array(width * height).map((_, i) => data[4 * i + channel]);
      const small = resizeChannel({ height, width, data: plane }, network);
      small.data.forEach((value, i) => {
        const row = Math.floor(i / network[1]);
        const target = (channel * padded[0] + row) * padded[1] + i - row * network[1];
        pixels[target] = (value - mean[channel]) / std[channel];
      });
    }
    return pixels;
  }

  /**
   * Run the text graph.
   * @param {string[]} phrases
   * @returns {Promise<Phrases>}
   */
  async embed(phrases) {
    const tokenizer = await this.#loadTokenizer();
    const rows = phrases.map((phrase) => tokenizer.tokens(phrase));
    const width = Math.max(MIN_TOKENS, ...rows.map((row) => row.length));
    const ids = new BigInt64Array(rows.length * width).fill(BigInt(this.record.text.end));
    rows.forEach((row, i) => ids.set(row.map(BigInt), i * width));
    const output = await this.graphs.run("text", { ids: await this.graphs.tensor(ids, [rows.length, width]) });
    const dim = output.tokens.dims[2];
    const valid = rows.map((row, i) => output.tokens.data.slice(i * width * dim, (i * width + row.length) * dim));
    return {
      tokens: { dim, data: Float32Array.from(valid.flatMap((values) => Array.from(values))) },
      owners: rows.flatMap((row, i) => row.map(() => i)),
      vectors: unit({ dim, data: output.vectors.data }),
    };
  }

  async #loadTokenizer() {
    if (!this.#tokenizer) {
      const response = await fetchFile(new URL("tokenizer.json", this.#folder));
      this.#tokenizer = new Tokenizer(await response.json(), this.record.text);
    }
    return this.#tokenizer;
  }

  /** The model's own classes, or COCO's. */
  get usualClasses() {
    const [list] = Object.values(this.record.classes);
    this.#usual ??= { classes: list.classes, embeddings: embeddingsOf([...list.classes, list.background]) };
    return this.#usual;
  }

  /**
   * Return classes with their embeddings: of names, or the usual ones.
   * @param {string[] | null} names
   * @returns {Promise<Vocabulary>}
   */
  async vocabulary(names) {
    if (!names) return this.usualClasses;
    const { vectors } = await this.embed([...names, BACKGROUND]);
    const classes = names.map((name) => ({ name, phrase: name, is_thing: true }));
    return { classes, embeddings: vectors };
  }

  /** Whether the model was fine-tuned to classes of its own, of which each excludes the others. */
  get hasOwnClasses() {
    return "own" in this.record.classes;
  }
}

/**
 * @param {{embedding: number[]}[]} records
 * @returns {Rows}
 */
function embeddingsOf(records) {
  const dim = records[0].embedding.length;
  return { dim, data: Float32Array.from(records.flatMap(({ embedding }) => embedding)) };
}
