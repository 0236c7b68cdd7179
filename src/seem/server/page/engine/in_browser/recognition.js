/** Everything of a class or a phrase: the text map tells what a photo shows, and that is asked for as phrases. */

/** @import {Bitmap} from "../../types.js" */
/** @import {EncodedPhoto} from "./encoded_photo.js" */
/** @import {Vocabulary} from "./model.js" */
/** @import {Plane} from "./resample.js" */
/** @import {Rows} from "./vectors.js" */

import { cleanMask, insideOf, splitComponents } from "./components.js";
import { bitmapOfMask, distinctMasks, mergeMasks, sigmoid } from "./masks.js";
import {
  bestMeans,
  concatenate,
  countOf,
  mean,
  products,
  softmax,
  sortedColumn,
  take,
} from "./vectors.js";

const MAX_CLASSES = 24; // of a photo that are asked for
const SHORTLIST = 160; // of which it is scored whether the photo shows them
const ROUNDING = 1e-5; // by which a score may pass its limit
const MAX_INSTANCES = 100;

/**
 * @typedef {{index: number, logits: Plane, score: number}} Part  a component of the mask of a class, stride 2
 * @typedef {{bitmap: Bitmap, score: number, label: string}} FoundObject
 */

/**
 * Give every pixel at most one region of a class.
 * @param {EncodedPhoto} photo
 * @param {Vocabulary} vocabulary
 * @param {number | null} threshold
 * @returns {Promise<FoundObject[]>}
 */
export async function panoptic(photo, vocabulary, threshold) {
  const { classes } = vocabulary;
  const parts = await partsOf(photo, vocabulary, threshold ?? photo.model.record.thresholds.panoptic, false);
  const competitors = parts.map(({ index, logits, score }) => ({
    toPhoto: () => photo.toPhoto(logits),
    score,
    group: classes[index].is_thing ? -1 : index,
  }));
  const { ids, winners } = mergeMasks(competitors, photo.frame.photo);
  return winners.map((winner, i) => ({
    bitmap: bitmapOfMask(Uint8Array.from(ids, (id) => Number(id === i + 1)), photo.frame.photo),
    score: parts[winner].score,
    label: classes[parts[winner].index].name,
  }));
}

/**
 * Segment every countable thing, best first.
 * @param {EncodedPhoto} photo
 * @param {Vocabulary} vocabulary
 * @param {number | null} threshold
 */
export async function instances(photo, vocabulary, threshold) {
  const parts = await partsOf(photo, vocabulary, threshold ?? photo.model.record.thresholds.instance, true);
  return tidied(photo, vocabulary, distinctParts(parts).slice(0, MAX_INSTANCES));
}

/**
 * Segment everything that a phrase fits. The largest component of a phrase that is there stays whatever its score.
 * @param {EncodedPhoto} photo
 * @param {string[]} phrases
 * @param {number | null} given  the lowest score; null: the model's own
 * @returns {Promise<{found: FoundObject[], notes: string[]}>}
 */
export async function find(photo, phrases, given) {
  const threshold = given ?? photo.model.record.thresholds.text;
  const vocabulary = await photo.model.vocabulary(phrases);
  const vectors = withoutBackground(vocabulary);
  const presence = photo.presence(vectors);
  const present = phrases.map((_, i) => i).filter((i) => presence[i] >= threshold);
  const rivals = photo.model.usualClasses.embeddings;
  const parts = await locate(photo, vocabulary, present, rivals);
  const first = new Set(present.map((phrase) => parts.find(({ index }) => index === phrase)));
  const chosen = parts.filter((part) => part.score >= threshold || first.has(part));
  chosen.sort((a, b) => b.score - a.score);
  const found = tidied(photo, vocabulary, distinctParts(chosen));
  const missing = phrases.filter((phrase) => !found.some(({ label }) => label === phrase));
  return { found, notes: missing.map((phrase) => `“${phrase}” was not found`) };
}

/**
 * Ask for the classes that are present: their components that score `threshold` or more, best first.
 * @param {EncodedPhoto} photo
 * @param {Vocabulary} vocabulary
 * @param {number} threshold
 * @param {boolean} thingsOnly
 * @returns {Promise<Part[]>}
 */
async function partsOf(photo, vocabulary, threshold, thingsOnly) {
  const rivals = rivalsOf(photo, vocabulary);
  const presence = classPresence(photo, vocabulary, rivals);
  const isAsked = (/** @type {number} */ index) => !thingsOnly || vocabulary.classes[index].is_thing;
  const likeliest = presence.filter(({ index }) => isAsked(index)).slice(0, MAX_CLASSES);
  const present = likeliest.filter(({ score, limit }) => score * (limit + ROUNDING) >= threshold);
  const parts = await locate(photo, vocabulary, present.map(({ index }) => index), rivals);
  const scores = new Map(present.map(({ index, score }) => [index, score]));
  const scored = parts.map((part) => ({
    ...part,
    score: part.score * (scores.get(part.index) ?? 0) * certaintyOf(photo, part.logits),
  }));
  return scored.filter(({ score }) => score >= threshold).sort((a, b) => b.score - a.score);
}

/**
 * Return the names that compete with classes: the usual ones, and those of the list that are not among them.
 * @param {EncodedPhoto} photo
 * @param {Vocabulary} vocabulary
 */
function rivalsOf(photo, { classes, embeddings }) {
  const usual = photo.model.usualClasses;
  const known = new Set(usual.classes.map(({ phrase }) => phrase));
  const added = Array.from(classes.keys()).filter((index) => !known.has(classes[index].phrase));
  return added.length > 0 ? concatenate([usual.embeddings, take(embeddings, added)]) : usual.embeddings;
}

/** @param {Vocabulary} vocabulary */
function withoutBackground({ classes, embeddings }) {
  return take(embeddings, Array.from(classes.keys()));
}

/**
 * Score how surely each class is in the photo, and limit what a component of its mask can score; the likeliest first.
 * @param {EncodedPhoto} photo
 * @param {Vocabulary} vocabulary
 * @param {Rows} rivals
 */
function classPresence(photo, vocabulary, rivals) {
  const vectors = withoutBackground(vocabulary);
  const shortlist = shortlistOf(photo, vectors);
  const cells = photo.probabilities(take(vectors, shortlist), rivals);
  const means = bestMeans(cells);
  const presence = shortlist.map((index, column) => {
    const highest = sortedColumn(cells, column).at(-1) ?? 0;
    return { index, score: photo.scoreOf(means[column]), limit: photo.scoreOf(highest) };
  });
  return presence.sort((a, b) => b.score - a.score);
}

/**
 * Return the classes that the cells are likeliest to show.
 * @param {EncodedPhoto} photo
 * @param {Rows} vectors
 */
function shortlistOf(photo, vectors) {
  const indices = Array.from({ length: countOf(vectors) }, (_, i) => i);
  if (indices.length <= SHORTLIST) return indices;
  const logits = products(photo.cells, vectors);
  const scaled = logits.data.map((value) => value * photo.model.record.temperature);
  const likely = bestMeans(softmax({ dim: logits.dim, data: scaled }));
  return indices.sort((a, b) => likely[b] - likely[a]).slice(0, SHORTLIST);
}

/**
 * Ask for classes as phrases, and split the masks of things into their components; a component scores how surely the
 * better half of its own cells shows the class.
 * @param {EncodedPhoto} photo
 * @param {Vocabulary} vocabulary
 * @param {number[]} indices
 * @param {Rows} rivals
 * @returns {Promise<Part[]>}
 */
async function locate(photo, { classes, embeddings }, indices, rivals) {
  if (indices.length === 0) return [];
  const { masks } = await photo.ask({ phrases: indices.map((index) => [classes[index].phrase]) });
  const cells = photo.probabilities(take(embeddings, indices), rivals);
  return indices.flatMap((index, column) => {
    const [logits] = masks[column];
    const parts = classes[index].is_thing ? splitComponents(logits) : [logits];
    return parts.map((part) => ({ index, logits: part, score: regionScore(photo, part, cells, column) }));
  });
}

/**
 * @param {EncodedPhoto} photo
 * @param {Plane} logits
 * @param {Rows} cells  probabilities, one column for each class
 * @param {number} column
 */
function regionScore(photo, logits, cells, column) {
  const shares = photo.sharesOf(logits);
  const limit = Math.min(0.5, shares.reduce((most, share) => Math.max(most, share), 0));
  const own = cells.data.filter((_, i) => i % cells.dim === column).filter((_, cell) => shares[cell] >= limit);
  own.sort();
  return photo.scoreOf(mean(own.subarray(Math.floor(own.length / 2))));
}

/**
 * Return the mean probability inside a mask.
 * @param {EncodedPhoto} photo
 * @param {Plane} logits
 */
function certaintyOf(photo, logits) {
  const inside = photo.toNetwork(logits).data.filter((value) => value > 0);
  return inside.reduce((sum, value) => sum + sigmoid(value), 0) / (inside.length + 1e-6);
}

/** @param {Part[]} parts */
function distinctParts(parts) {
  return distinctMasks(parts.map(({ logits }) => insideOf(logits.data))).map((row) => parts[row]);
}

/**
 * Bring parts to the photo, without tiny components and holes; one of a few cells may vanish among its pixels.
 * @param {EncodedPhoto} photo
 * @param {Vocabulary} vocabulary
 * @param {Part[]} parts
 * @returns {FoundObject[]}
 */
function tidied(photo, { classes }, parts) {
  const size = photo.frame.photo;
  const objects = parts.map(({ index, logits, score }) => ({
    bitmap: bitmapOfMask(cleanMask(insideOf(photo.toPhoto(logits).data), size), size),
    score,
    label: classes[index].name,
  }));
  return objects.filter(({ bitmap }) => bitmap.data.length > 0);
}
