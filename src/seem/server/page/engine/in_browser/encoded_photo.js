/** An encoded photo: what prompts describe, as the Python API answers it. */

/** @import {Bitmap, Position, Prompt, ReferencePrompt} from "../../types.js" */
/** @import {Marks} from "./cell_maps.js" */
/** @import {Frame} from "./frame.js" */
/** @import {Tensor} from "./graphs.js" */
/** @import {Model, Phrases} from "./model.js" */
/** @import {Plane} from "./resample.js" */
/** @import {Rows} from "./vectors.js" */

import { encodeMask } from "../../masks/rle.js";
import { EngineError } from "../engine_error.js";
import { applyOutlines, clipToBounds, isMarked, means, obeyClicks } from "./cell_maps.js";
import { drawBox, drawMask, drawPoint, drawPolygon, drawStroke, emptyMap, spacedPoints } from "./drawing.js";
import { cellsOf } from "./frame.js";
import { insideOf } from "./components.js";
import { bitmapOfMask, sigmoid } from "./masks.js";
import { BICUBIC, BILINEAR, crop, resize } from "./resample.js";
import { bestMeans, probabilities, products, rowOf, softmax, take, unit, weightedMean } from "./vectors.js";

const SYNONYM_COSINE = 0.5; // names that are closer do not compete
const OWN_SYNONYM_COSINE = 0.99; // the same among a model's own classes
const LIKENESS_SLOPE = 12; // of the score of a reference over the cosine
const MIN_LABEL_PROBABILITY = 0.2;
const NUM_LEVELS = 3; // of the features that points are read from

/**
 * @typedef {{tokens: Float32Array, count: number, vector: Rows}} ReferenceRegion
 *
 * @typedef {object} Question  what one pass of the prompts graph answers
 * @property {string[][]} phrases  of each object
 * @property {Marks | null} [marks]  of a single object
 * @property {Float32Array | null} [previous]
 * @property {ReferenceRegion | null} [reference]  of a single object
 *
 * @typedef {object} ObjectAnswer
 * @property {Plane} logits  stride 2
 * @property {number} score
 */

export class EncodedPhoto {
  /** @type {WeakMap<Rows, Rows>} */
  #logits = new WeakMap(); // of the cells, for lists of names

  /**
   * @param {Model} model
   * @param {Frame} frame
   * @param {Record<string, Tensor>} encoding
   */
  constructor(model, frame, encoding) {
    this.model = model;
    this.frame = frame;
    this.encoding = encoding;
    this.cells = this.#imageCells();
  }

  /** Return the text map without padding, one row for each cell. */
  #imageCells() {
    const { data, dims } = this.encoding.text_map;
    const [, dim, height, width] = dims;
    const [rows, columns] = cellsOf(this.frame);
    const cells = new Float32Array(rows * columns * dim);
    for (let cell = 0; cell < rows * columns; cell += 1) {
      const row = Math.floor(cell / columns);
      const source = row * width + cell - row * columns;
      for (let k = 0; k < dim; k += 1) cells[cell * dim + k] = data[k * height * width + source];
    }
    return { dim, data: cells };
  }

  /**
   * Segment the object that prompts describe; null where it is not there, with the reason.
   * @param {Prompt[]} prompts
   * @param {ReferenceRegion | null} reference
   * @returns {Promise<{answer: ObjectAnswer | null, notes: string[]}>}
   */
  async segment(prompts, reference) {
    const phrases = prompts.flatMap((prompt) => (prompt.kind === "text" ? [prompt.phrase] : []));
    const presence = phrases.length > 0 ? await this.#presenceOf(phrases) : null;
    if (prompts.every(({ kind }) => kind === "text" || kind === "reference")) {
      return this.#segmentUnmarked(phrases, presence, reference);
    }
    const isAbsent = presence !== null && presence < this.model.record.thresholds.text;
    const answer = await this.#segmentMarked(prompts, isAbsent ? [] : phrases);
    const notes = isAbsent ? [`${quoted(phrases)} was not found: only the marks are used`] : [];
    return { answer, notes };
  }

  /**
   * Segment what phrases or a reference describe, if it is there.
   * @param {string[]} phrases
   * @param {number | null} presence
   * @param {ReferenceRegion | null} reference
   * @returns {Promise<{answer: ObjectAnswer | null, notes: string[]}>}
   */
  async #segmentUnmarked(phrases, presence, reference) {
    const found = await this.ask({ phrases: [phrases], reference });
    let [[logits]] = found.masks;
    let score = presence;
    if (score === null && reference) {
      logits = this.#withReferenceThreshold(logits);
      score = this.#likeness(logits, reference.vector);
    }
    const isThere = score !== null && score >= this.model.record.thresholds.text && insideOf(logits.data).includes(1);
    if (isThere) return { answer: { logits, score: /** @type {number} */ (score) }, notes: [] };
    const what = phrases.length > 0 ? quoted(phrases) : "What the second photo shows";
    return { answer: null, notes: [`${what} was not found`] };
  }

  /**
   * Segment what marks describe, with phrases beside them.
   * @param {Prompt[]} prompts
   * @param {string[]} phrases
   * @returns {Promise<ObjectAnswer>}
   */
  async #segmentMarked(prompts, phrases) {
    const drawn = this.#draw(prompts);
    const { marks, previous } = applyOutlines(drawn.marks, drawn.outlines, this.frame);
    const hasBounds = isMarked(marks.bounds);
    const hasPositive = isMarked(marks.positive);
    if (!hasPositive && !hasBounds && phrases.length === 0) {
      throw new EngineError("invalid-request", "All marks say what is not meant; add one that says what is.");
    }
    const found = await this.ask({ phrases: [phrases], marks, previous });
    const isAlone = hasPositive && !hasBounds && phrases.length === 0 && !previous;
    const row = isAlone ? bestCandidate(found.scores) : 0;
    const clipped = clipToBounds(found.masks[0][row], marks, this.frame);
    return { logits: obeyClicks(clipped, clicksOf(prompts), this.frame), score: found.scores[row] };
  }

  /**
   * Draw the marks among prompts.
   * @param {Prompt[]} prompts
   */
  #draw(prompts) {
    const { frame } = this;
    const marks = { positive: emptyMap(frame), negative: emptyMap(frame), bounds: emptyMap(frame) };
    const outlines = emptyMap(frame);
    for (const prompt of prompts) {
      const target = "positive" in prompt && prompt.positive === false ? marks.negative : marks.positive;
      if (prompt.kind === "box") drawBox(marks.bounds, frame, prompt);
      else if (prompt.kind === "polygon") drawPolygon(outlines, frame, prompt.points);
      else drawMark(target, frame, prompt);
    }
    return { marks, outlines };
  }

  /**
   * Encode the region that marks of this photo cover, as a reference for questions about another photo.
   * @param {Prompt[]} prompts
   * @returns {Promise<ReferenceRegion>}
   */
  async referenceRegion(prompts) {
    const region = await this.#region(prompts);
    const nothing = emptyMap(this.frame);
    const marks = { positive: region, negative: nothing, bounds: nothing };
    const { pointTokens, pointCount } = await this.ask({ phrases: [[]], marks });
    const shares = this.#cellShares(means(region, this.frame.padded, 4));
    return { tokens: pointTokens, count: pointCount, vector: weightedMean(this.cells, shares) };
  }

  /**
   * Return the map of a region; with points among the prompts it is segmented first.
   * @param {Prompt[]} prompts
   */
  async #region(prompts) {
    const isDrawn = prompts.every(({ kind }) => kind !== "point" && kind !== "text");
    if (isDrawn) {
      const { marks, outlines } = this.#draw(prompts);
      const region = marks.positive.map((value, i) => (value | marks.bounds[i] | outlines[i]) & ~marks.negative[i]);
      if (isMarked(region)) return region;
    } else {
      const { answer } = await this.segment(prompts, null);
      const map = emptyMap(this.frame);
      const mask = answer && this.toBitmap(answer.logits);
      if (mask && mask.data.length > 0) {
        drawMask(map, this.frame, encodeMask(mask, this.frame.photo));
        return map;
      }
    }
    throw new EngineError("invalid-request", "The marks cover nothing of the second photo; draw a box there.");
  }

  /**
   * Name the object under a mask by its mean text vector; null where no class is likely.
   * @param {Plane} logits
   * @returns {string | null}
   */
  label(logits) {
    const { classes, embeddings } = this.model.usualClasses;
    const vector = unit(weightedMean(this.cells, this.sharesOf(logits)));
    const named = take(embeddings, Array.from(classes.keys()));
    const cosines = products(vector, named);
    const scaled = cosines.data.map((value) => value * this.model.record.temperature);
    const probability = softmax({ dim: classes.length, data: scaled }).data;
    const best = probability.reduce((most, value, i) => (value > probability[most] ? i : most), 0);
    return probability[best] >= MIN_LABEL_PROBABILITY ? classes[best].name : null;
  }

  /**
   * Return values at stride 4 for the cells of the photo, without padding.
   * @param {Plane} plane
   */
  #cellShares(plane) {
    return crop(plane, cellsOf(this.frame)).data;
  }

  /**
   * Return the share of every cell that a mask covers.
   * @param {Plane} logits  stride 2
   */
  sharesOf(logits) {
    return this.#cellShares(means(insideOf(logits.data), [logits.height, logits.width], 2));
  }

  /** @param {string[]} phrases */
  async #presenceOf(phrases) {
    const { vectors } = await this.model.embed(phrases);
    const sum = weightedMean(vectors, new Float32Array(phrases.length).fill(1));
    return this.presence(unit(sum))[0];
  }

  /**
   * Score how surely the photo shows things, 0-1.
   * @param {Rows} vectors
   */
  presence(vectors) {
    const { embeddings } = this.model.usualClasses;
    return bestMeans(this.probabilities(vectors, embeddings)).map((mean) => this.scoreOf(mean));
  }

  /**
   * @param {Rows} vectors
   * @param {Rows} rivals
   */
  probabilities(vectors, rivals) {
    const closest = this.model.hasOwnClasses ? OWN_SYNONYM_COSINE : SYNONYM_COSINE;
    let rivalLogits = this.#logits.get(rivals);
    if (!rivalLogits) {
      rivalLogits = products(this.cells, rivals);
      this.#logits.set(rivals, rivalLogits);
    }
    const { temperature } = this.model.record;
    return probabilities({ cells: this.cells, things: vectors, rivals, rivalLogits }, { temperature, closest });
  }

  /**
   * Turn the probability of cells into a score.
   * @param {number} probability
   */
  scoreOf(probability) {
    return probability / (probability + this.model.record.thresholds.presence_midpoint);
  }

  /**
   * @param {Plane} logits
   * @param {Rows} vector
   */
  #likeness(logits, vector) {
    const own = unit(weightedMean(this.cells, this.sharesOf(logits)));
    const cosine = products(own, unit(vector)).data[0];
    return sigmoid(LIKENESS_SLOPE * (cosine - this.model.record.thresholds.likeness_midpoint));
  }

  /**
   * Shift logits so that a pixel is inside from a share of the largest probability on.
   * @param {Plane} logits
   * @returns {Plane}
   */
  #withReferenceThreshold(logits) {
    const share = this.model.record.thresholds.reference_peak_ratio;
    if (share === null) return logits;
    const { data } = this.toNetwork(logits);
    const limit = share * sigmoid(data.reduce((most, value) => Math.max(most, value), -Infinity));
    const shift = Math.log(limit / (1 - limit));
    return { ...logits, data: logits.data.map((value) => value - shift) };
  }

  // Logits to masks

  /**
   * Enlarge logits to the network frame and cut off the padding.
   * @param {Plane} logits
   */
  toNetwork(logits) {
    return crop(resize(logits, this.frame.padded, BILINEAR), this.frame.network);
  }

  /**
   * Bring logits to the size of the photo.
   * @param {Plane} logits
   */
  toPhoto(logits) {
    return resize(this.toNetwork(logits), this.frame.photo, BICUBIC);
  }

  /**
   * Return the mask of the photo.
   * @param {Plane} logits
   * @returns {Bitmap}
   */
  toBitmap(logits) {
    return bitmapOfMask(insideOf(this.toPhoto(logits).data), this.frame.photo);
  }

  // The graph

  /**
   * Run the prompts graph.
   * @param {Question} question
   */
  async ask({ phrases, marks = null, previous = null, reference = null }) {
    const { graphs } = this.model;
    const output = await graphs.run("prompts", {
      ...this.encoding,
      ...(await this.#markInputs(phrases.length, marks, previous)),
      ...(await this.#textInputs(phrases, reference)),
      ...(await this.#referenceInputs(reference)),
    });
    const [, candidates, height, width] = output.masks.dims;
    const planes = Array.from({ length: phrases.length * candidates }, (_, i) => {
      const data = output.masks.data.slice(i * height * width, (i + 1) * height * width);
      return { height, width, data };
    });
    return {
      masks: phrases.map((_, i) => planes.slice(i * candidates, (i + 1) * candidates)),
      scores: /** @type {Float32Array} */ (output.scores.data),
      pointTokens: /** @type {Float32Array} */ (output.point_tokens.data),
      pointCount: output.point_tokens.dims[1],
    };
  }

  /**
   * @param {number} count  of objects
   * @param {Marks | null} marks
   * @param {Float32Array | null} previous
   */
  async #markInputs(count, marks, previous) {
    const { graphs, record } = this.model;
    const { padded } = this.frame;
    const [height, width] = padded;
    const maps = new Uint8Array(count * 3 * height * width);
    /** @type {{point: Position, label: number}[]} */
    let points = [];
    if (marks) {
      const { positive, negative, bounds } = marks;
      [positive, negative, bounds].forEach((map, i) => maps.set(map, i * height * width));
      const meant = positive.map((value, i) => value | bounds[i]);
      points = [
        ...spacedPoints(meant, padded, record.max_points).map((point) => ({ point, label: 1 })),
        ...spacedPoints(negative, padded, record.max_points).map((point) => ({ point, label: 0 })),
      ];
    }
    const owner = points.length > 0 ? 0 : -1;
    if (points.length === 0) points = [{ point: [0, 0], label: 0 }];
    const before = previous ?? new Float32Array((count * height * width) / 16);
    return {
      marks: await graphs.tensor(maps, [count, 3, height, width]),
      previous: await graphs.tensor(before, [count, height / 4, width / 4]),
      points: await graphs.tensor(Float32Array.from(points.flatMap(({ point }) => point)), [points.length, 2]),
      point_labels: await this.#integers(points.map(({ label }) => label)),
      point_owners: await this.#integers(points.map(() => owner)),
    };
  }

  /**
   * @param {string[][]} phrases
   * @param {ReferenceRegion | null} reference
   */
  async #textInputs(phrases, reference) {
    const { dim } = this.cells;
    const vectors = new Float32Array(phrases.length * dim);
    if (reference) vectors.set(reference.vector.data);
    const objects = phrases.flatMap((each, object) => each.map(() => object));
    /** @type {Float32Array} */
    let tokens = new Float32Array(dim);
    let owners = [-1];
    if (objects.length > 0) {
      const embedded = await this.model.embed(phrases.flat());
      tokens = embedded.tokens.data;
      owners = embedded.owners.map((phrase) => objects[phrase]);
      objects.forEach((object, phrase) => {
        rowOf(embedded.vectors, phrase).forEach((value, k) => (vectors[object * dim + k] += value));
      });
    }
    const { graphs } = this.model;
    return {
      phrase_tokens: await graphs.tensor(tokens, [owners.length, dim]),
      phrase_owners: await this.#integers(owners),
      text_vectors: await graphs.tensor(vectors, [phrases.length, dim]),
    };
  }

  /** @param {ReferenceRegion | null} reference */
  async #referenceInputs(reference) {
    const { dim } = this.cells;
    const { tokens, count, owner } = reference
      ? { ...reference, owner: 0 }
      : { tokens: new Float32Array(NUM_LEVELS * dim), count: 1, owner: -1 };
    return {
      reference_tokens: await this.model.graphs.tensor(tokens, [NUM_LEVELS, count, dim]),
      reference_owners: await this.#integers(new Array(count).fill(owner)),
    };
  }

  /** @param {number[]} values */
  #integers(values) {
    return this.model.graphs.tensor(BigInt64Array.from(values.map(BigInt)), [values.length]);
  }
}

/**
 * @param {Uint8Array} map
 * @param {Frame} frame
 * @param {Prompt} prompt
 */
function drawMark(map, frame, prompt) {
  switch (prompt.kind) {
    case "point":
      return drawPoint(map, frame, prompt);
    case "stroke":
      return drawStroke(map, frame, prompt.points, prompt.width);
    case "scribble":
      return prompt.strokes.forEach((stroke) => drawStroke(map, frame, stroke, prompt.width));
    case "mask":
      return drawMask(map, frame, prompt.rle);
  }
}

/** @param {Prompt[]} prompts */
function clicksOf(prompts) {
  return prompts.flatMap((prompt) => {
    if (prompt.kind !== "point") return [];
    return [{ position: /** @type {Position} */ ([prompt.x, prompt.y]), isPositive: prompt.positive !== false }];
  });
}

/**
 * Return the best of the candidates behind the first mask; that one where there are none.
 * @param {Float32Array} scores
 */
function bestCandidate(scores) {
  let best = Math.min(1, scores.length - 1);
  for (let i = best + 1; i < scores.length; i += 1) if (scores[i] > scores[best]) best = i;
  return best;
}

/** @param {string[]} phrases */
function quoted(phrases) {
  return `“${phrases.join(", ")}”`;
}
