/** What people can do with a photo: every button, key and mark ends in one of these methods. */

/** @import {Waiting} from "./engine/server_engine.js" */
/** @import {Answer, Engine, ImageDescription, Intent, PhotoDocument, PhotoObject, Position, Prompt, StrokePrompt, ToolName} from "./types.js" */
/** @import {AppState} from "./state/app_state.js" */
/** @import {NewObject} from "./state/document.js" */
/** @import {Notices} from "./panels/notices.js" */
/** @import {Contents, Shared} from "./state/merge.js" */
/** @import {Work, Works} from "./state/works.js" */
/** @import {Video} from "./video_tracking.js" */

import { EncodedImages } from "./engine/encoded_images.js";
import { EngineError, isAbort } from "./engine/engine_error.js";
import { areaOf, bitmapOf, eraseStrokes, isInside, unionOf } from "./masks/bitmap.js";
import { encodeMask } from "./masks/rle.js";
import { decodePicture, thumbnailOf } from "./pictures.js";
import { INITIAL_STATE, objectsOf, selectedObjects } from "./state/app_state.js";
import {
  EMPTY_DOCUMENT,
  acceptObjects,
  addObjects,
  changeObject,
  countedObjects,
  findObject,
  mergeObjects,
  nameOf,
  removeObjects,
  showAll,
} from "./state/document.js";
import { NOTHING_SHARED, mergeContents } from "./state/merge.js";
import { amend, record, redo, startHistory, undo } from "./state/history.js";
import { newId } from "./state/new_id.js";
import { Store } from "./state/store.js";
import { takesRemoval } from "./tools/tools.js";

const PHOTO = "photo"; // the key of the photo itself among the encoded images
const READY = "The photo is ready. Click an object.";

/**
 * @typedef {object} StoredPhoto  a photo of a project
 * @property {string} id
 * @property {string} name
 * @property {PhotoDocument} document
 * @property {string[]} classes
 * @property {(waiting: Waiting) => Promise<ImageDescription>} encode
 * @property {(document: PhotoDocument, classes: string[]) => unknown} store  after every change
 */

/** @typedef {Omit<Work, keyof Contents | "changed" | "revision">} OpenWork */

/** @typedef {"panoptic" | "instances" | "everything"} WholeTask */

const WHOLE_TASKS = {
  panoptic: "Naming every region",
  instances: "Finding every object",
  everything: "Segmenting everything",
};

export class Workspace {
  /** @type {Store<AppState>} */
  store = new Store(INITIAL_STATE);
  #engine;
  #works;
  #notices;
  #images;
  /** @type {Promise<unknown>} */
  #queue = Promise.resolve(); // questions that change the document, one after the other
  #cancellation = new AbortController();
  /** @type {Record<string, {file: Blob, name: string}>} */
  #references = {};
  /** @type {OpenWork | null} */
  #work = null;
  /** @type {((document: PhotoDocument, classes: string[]) => unknown) | null} */
  #storeElsewhere = null; // where the photo is of a project
  /** @type {Shared} */
  #shared = NOTHING_SHARED;

  /**
   * @param {Engine} engine
   * @param {Works} works
   * @param {Notices} notices
   */
  constructor(engine, works, notices) {
    this.#engine = engine;
    this.#works = works;
    this.#notices = notices;
    this.#images = new EncodedImages(engine);
  }

  get state() {
    return this.store.state;
  }

  get engine() {
    return this.#engine;
  }

  get notices() {
    return this.#notices;
  }

  // Opening and storing

  /**
   * Show a photo and encode it.
   * @param {Blob} file
   * @param {string} name
   * @param {{imageId?: string | null, video?: Video | null}} frame  where it is the first frame of a video
   */
  async open(file, name, { imageId = null, video = null } = {}) {
    this.close();
    const signal = this.#cancellation.signal;
    this.setTask("Opening the photo");
    this.#images.add(PHOTO, file, name, imageId);
    try {
      const picture = (await decodePicture(file)) ?? (await this.#pictureFromEngine());
      if (signal.aborted) return;
      const id = newId();
      const { width, height } = picture;
      this.#work = { id, name, width, height, file, thumbnail: await thumbnailOf(picture), imageId };
      this.#show(picture);
      this.store.set({ video });
      await this.#encode(signal);
    } catch (error) {
      if (!signal.aborted) this.#failToOpen(error, file, name);
    } finally {
      if (!signal.aborted) this.store.set({ task: null });
    }
  }

  /**
   * Open a stored work again.
   * @param {string} id
   */
  async restore(id) {
    const work = await this.#works.get(id);
    if (!work) return;
    this.close();
    const signal = this.#cancellation.signal;
    const { history, classes, video, changed: _, references, revision, ...rest } = work;
    this.#work = rest;
    this.#references = references;
    this.#shared = { document: history.present, revision };
    this.#images.add(PHOTO, work.file, work.name, work.imageId);
    for (const [key, reference] of Object.entries(references)) {
      this.#images.add(key, reference.file, reference.name);
    }
    try {
      const picture = (await decodePicture(work.file)) ?? (await this.#pictureFromEngine());
      if (signal.aborted) return;
      this.#show(picture);
      this.store.set({ history, classes, video, usesClasses: classes.length > 0 });
      await this.#encodeAgainIfForgotten(signal);
    } catch (error) {
      if (!signal.aborted) this.report(error);
    } finally {
      if (!signal.aborted) this.store.set({ task: null });
    }
  }

  /**
   * Show a photo that the engine reads itself and whose objects are stored elsewhere.
   * @param {StoredPhoto} stored
   */
  async openStored({ id, name, document, classes, encode, store }) {
    this.close();
    const signal = this.#cancellation.signal;
    this.setTask("Opening the photo");
    this.#images.addEncoder(PHOTO, encode);
    try {
      const picture = await this.#pictureFromEngine("jpeg");
      if (signal.aborted) return;
      const { width, height } = picture;
      this.#work = { id, name, width, height, file: new Blob(), thumbnail: new Blob(), imageId: null };
      this.#storeElsewhere = store;
      this.store.set({ history: startHistory(document), classes, usesClasses: classes.length > 0, proposes: true });
      this.#show(picture);
      this.#notices.announce(READY);
    } catch (error) {
      if (!signal.aborted) this.report(error);
    } finally {
      if (!signal.aborted) this.store.set({ task: null });
    }
  }

  /** Go back to the first view. */
  close() {
    this.save();
    this.#cancellation.abort();
    this.#cancellation = new AbortController();
    this.#queue = Promise.resolve();
    this.#images.clear();
    this.#references = {};
    this.#work = null;
    this.#storeElsewhere = null;
    this.#shared = NOTHING_SHARED;
    const { information, tool, brush } = this.state;
    this.store.set({ ...INITIAL_STATE, information, tool: tool === "eraser" ? "click" : tool, brush });
  }

  /** Store what has been done so far, with what other tabs have done. */
  async save() {
    if (!this.#work) return;
    if (this.#storeElsewhere) {
      await this.#storeElsewhere(this.#document, this.state.classes);
      return;
    }
    const left = { work: this.#work, contents: this.#contents, shared: this.#shared };
    const isOpen = () => this.#work?.id === left.work.id;
    try {
      await this.#works.update(left.work.id, (stored) => {
        const { contents, shared } = isOpen() ? { contents: this.#contents, shared: this.#shared } : left;
        const merged = mergeContents(contents, stored, shared);
        const revision = newId();
        if (isOpen()) this.#adopt(merged, { document: merged.history.present, revision });
        const work = isOpen() ? this.#work : left.work;
        return { .../** @type {OpenWork} */ (work), ...merged, changed: Date.now(), revision };
      });
    } catch {
      this.#notices.show("This browser has no room to store your work. Export it before you leave.");
    }
  }

  /**
   * Take over what another tab has done with a photo, if it is open here.
   * @param {string} id
   */
  async takeOver(id) {
    const stored = this.#work?.id === id ? await this.#works.get(id) : undefined;
    if (!stored || this.#work?.id !== id) return;
    const merged = mergeContents(this.#contents, stored, this.#shared);
    this.#adopt(merged, { document: stored.history.present, revision: stored.revision });
  }

  /** @returns {Contents} */
  get #contents() {
    const { history, classes, video } = this.state;
    return { history, classes, video, references: this.#references };
  }

  /**
   * @param {Contents} contents
   * @param {Shared} shared
   */
  #adopt({ history, references }, shared) {
    this.#shared = shared;
    this.#references = references;
    if (history !== this.state.history) this.store.set({ history });
  }

  /** @param {ImageBitmap} picture */
  #show(picture) {
    const { id: workId, name, width, height } = /** @type {Work} */ (this.#work);
    this.store.set({ photo: { workId, name, width, height, picture } });
  }

  /** @param {"png" | "jpeg"} form */
  async #pictureFromEngine(form = "png") {
    const id = await this.#images.idOf(PHOTO, this.#waitingForUpload());
    const picture = await decodePicture(await this.#engine.picture(id, form));
    if (!picture) throw new EngineError("unreadable", "This browser cannot show the picture.");
    return picture;
  }

  #waitingForUpload() {
    return {
      signal: this.#cancellation.signal,
      onProgress: (/** @type {number} */ fraction) =>
        fraction < 1 ? this.setTask(this.#engine.transferText, fraction) : this.setTask("Looking at the photo"),
    };
  }

  /** @param {AbortSignal} signal */
  async #encode(signal) {
    this.setTask("Looking at the photo");
    const imageId = await this.#images.idOf(PHOTO, this.#waitingForUpload());
    if (signal.aborted || !this.#work) return;
    this.#work = { ...this.#work, imageId };
    await this.save();
    this.#notices.announce(READY);
  }

  /** @param {AbortSignal} signal */
  async #encodeAgainIfForgotten(signal) {
    await this.#images.withId(PHOTO, async (id) => {
      if (!(await this.#engine.hasImage(id))) throw new EngineError("gone", "");
    });
    await this.#encode(signal);
  }

  /**
   * @param {unknown} error
   * @param {Blob} file
   * @param {string} name
   */
  #failToOpen(error, file, name) {
    if (error instanceof EngineError && ["unreachable", "queue-full", "unauthorized"].includes(error.kind)) {
      this.report(error, () => this.open(file, name));
    } else {
      this.close();
      this.report(error);
    }
  }

  // Questions

  /**
   * Answer a mark: a new object, or more about the selected one.
   * @param {Prompt} prompt
   * @param {Intent} intent
   */
  mark(prompt, intent) {
    const target = intent === "new" ? undefined : selectedObjects(this.state)[0];
    if (intent === "remove" && !target) {
      this.#notices.show("Select an object first; then mark what does not belong to it.");
      return;
    }
    const targetId = target?.id;
    this.store.set({ pending: [...this.state.pending, prompt], preview: null });
    this.enqueue(async (signal) => {
      try {
        const object = targetId === undefined ? undefined : findObject(this.state.history.present, targetId);
        await this.#segment([...promptsOf(object), prompt], object, signal);
      } finally {
        this.store.set({ pending: this.state.pending.filter((each) => each !== prompt) });
      }
    });
  }

  /**
   * Segment the object that prompts describe, and put it in place of `object` where there is one.
   * @param {Prompt[]} prompts
   * @param {PhotoObject | undefined} object
   * @param {AbortSignal} signal
   */
  async #segment(prompts, object, signal) {
    const answer = await this.askFor(prompts, {}, signal);
    const found = answer.objects[0];
    if (!found || found.area === 0) {
      this.#notices.show(answer.notes[0] ?? "Nothing is there. Try another mark, or other words.");
      return;
    }
    const erased = object?.erased ?? [];
    const fields = { prompts, score: found.score, mask: this.#withoutErased(found.mask, erased) };
    const id = object ? object.id : this.#addOne({ ...fields, label: found.label });
    if (object) this.#record(changeObject(this.#document, id, { ...fields, source: "marks" }));
    this.store.set({ selection: [id] });
    this.#announceObject(id);
    this.#nameSoon(id, prompts, signal);
  }

  /**
   * Ask for the object that prompts describe; the engine encodes the photo again if it has to.
   * @param {Prompt[]} prompts
   * @param {{labels?: boolean}} options
   * @param {AbortSignal} [signal]
   * @returns {Promise<Answer>}
   */
  askFor(prompts, options, signal) {
    return this.#images.withId(PHOTO, async (id) =>
      this.#engine.segment(id, await this.#images.resolve(prompts), options, { signal }),
    );
  }

  /**
   * Name a new object: the first name in a photo costs more than a click, so that it comes afterwards.
   * @param {number} id
   * @param {Prompt[]} prompts
   * @param {AbortSignal} signal
   */
  async #nameSoon(id, prompts, signal) {
    if (findObject(this.#document, id)?.label) return;
    try {
      const answer = await this.askFor(prompts, { labels: true }, signal);
      const label = answer.objects[0]?.label ?? null;
      if (signal.aborted || findObject(this.#document, id)?.label) return;
      this.store.set({ history: amend(this.state.history, changeObject(this.#document, id, { label })) });
    } catch {
      // An object without a name is still an object, and the next question reports what is wrong.
    }
  }

  /**
   * Segment what fits a phrase: every object, or the one that fits best.
   * @param {string} phrase
   * @param {"all" | "best" | "selected"} scope  "selected": say more about the selected object
   */
  describe(phrase, scope) {
    if (scope !== "all") {
      this.mark({ kind: "text", phrase }, scope === "best" ? "new" : "add");
      return;
    }
    this.#askWhole("find", { phrases: [phrase], threshold: this.state.threshold }, `find ${phrase}`, `Looking for “${phrase}”`);
  }

  /**
   * Segment the whole photo.
   * @param {WholeTask} task
   */
  segmentWhole(task) {
    const question = task === "everything" ? { labels: true } : this.#classQuestion();
    this.#askWhole(task, question, "whole", WHOLE_TASKS[task]);
  }

  #classQuestion() {
    const { classes, usesClasses, threshold } = this.state;
    return { classes: usesClasses && classes.length > 0 ? classes : null, threshold };
  }

  /**
   * @param {WholeTask | "find"} task
   * @param {object} question
   * @param {string} source
   * @param {string} text
   */
  #askWhole(task, question, source, text) {
    this.enqueue(async (signal) => {
      this.setTask(text);
      const answer = await this.#images.withId(PHOTO, (id) =>
        this.#engine.question(id, task, question, { signal }),
      );
      const { proposes } = this.state;
      const added = answer.objects
        .filter(({ area }) => area > 0)
        .map((found) => ({ ...newObject(found, source), proposed: proposes }));
      if (added.length === 0) {
        this.#notices.show(answer.notes[0] ?? "Nothing was found. Try other words or classes.");
        return;
      }
      this.#record(addObjects(this.#document, added, source));
      this.store.set({ selection: [] });
      this.#notices.announce(`${countedObjects(added.length)} found.`);
    });
  }

  /** Segment what the reference shows. */
  useReference() {
    const { reference } = this.state;
    if (!reference || reference.prompts.length === 0) return;
    const { key, prompts } = reference;
    this.mark({ kind: "reference", image: key, prompts }, "new");
  }

  /**
   * Take another picture as the reference.
   * @param {Blob} file
   * @param {string} name
   */
  async openReference(file, name) {
    const picture = await decodePicture(file);
    if (!picture) {
      this.#notices.show(`${name} is no picture that this browser can show.`);
      return;
    }
    const key = newId();
    this.#references = { ...this.#references, [key]: { file, name } };
    this.#images.add(key, file, name);
    this.store.set({ reference: { key, name, picture, prompts: [] } });
    this.#images.idOf(key).catch((error) => this.report(error)); // while a person marks the object
  }

  /**
   * Run a question when those before it have been answered.
   * @param {(signal: AbortSignal) => Promise<void>} ask
   */
  enqueue(ask) {
    const { signal } = this.#cancellation;
    const run = async () => {
      if (signal.aborted) return;
      try {
        await ask(signal);
      } catch (error) {
        if (!signal.aborted) this.report(error, () => this.enqueue(ask));
      } finally {
        if (!signal.aborted) this.store.set({ task: null });
      }
    };
    this.#queue = this.#queue.then(run);
  }

  /** Return the objects as the engine follows them through a video. */
  trackedObjects() {
    const objects = objectsOf(this.state).map(async (object) => {
      return { id: object.id, frame: 0, prompts: await this.#images.resolve(promptsOf(object)) };
    });
    return Promise.all(objects);
  }

  /**
   * Write objects in the format of another tool.
   * @param {string} format
   * @param {PhotoObject[]} objects
   * @returns {Promise<Blob>}
   */
  exportAs(format, objects) {
    const { name, width, height } = /** @type {import("./state/app_state.js").Photo} */ (this.state.photo);
    const annotations = objects.map(({ mask, label, score }) => ({ mask, label, score }));
    return this.#images.withId(PHOTO, (image_id) =>
      this.#engine.exportAnnotations({
        format,
        images: [{ name, width, height, image_id, objects: annotations }],
      }),
    );
  }

  // Changes

  /**
   * Take the pixels under a stroke out of the selected objects.
   * @param {Position[]} points
   * @param {number} width
   */
  erase(points, width) {
    const selected = selectedObjects(this.state);
    if (selected.length === 0) {
      this.#notices.show("Select the object to erase from.");
      return;
    }
    /** @type {StrokePrompt} */
    const stroke = { kind: "stroke", points, width };
    let document = this.#document;
    for (const object of selected) {
      const mask = this.#withoutErased(object.mask, [stroke]);
      const erased = [...object.erased, stroke];
      document = areaOf(bitmapOf(mask))
        ? changeObject(document, object.id, { mask, erased, source: "edited" })
        : removeObjects(document, [object.id]);
    }
    this.#record(document);
  }

  undo() {
    this.store.set({ history: undo(this.state.history), preview: null });
  }

  redo() {
    this.store.set({ history: redo(this.state.history), preview: null });
  }

  /**
   * Accept proposals.
   * @param {number[]} ids
   */
  accept(ids) {
    const document = acceptObjects(this.#document, ids);
    if (document === this.#document) return;
    this.#record(document);
    this.#notices.announce(`${ids.length} accepted.`);
  }

  /** Accept the selected proposals; all of them where none is selected. */
  acceptSelected() {
    const selected = selectedObjects(this.state).filter(({ proposed }) => proposed);
    const proposals = selected.length > 0 ? selected : objectsOf(this.state).filter(({ proposed }) => proposed);
    this.accept(proposals.map(({ id }) => id));
  }

  /**
   * Show another version of all objects; undo goes back to the one before.
   * @param {PhotoDocument} document
   */
  replaceDocument(document) {
    this.#record(document);
    this.store.set({ selection: [] });
  }

  /**
   * Add objects that come from a file.
   * @param {{label: string | null, score: number, mask: import("./types.js").Rle}[]} imported
   */
  addImported(imported) {
    this.#record(addObjects(this.#document, imported.map((object) => newObject(object, "import"))));
    this.store.set({ selection: [] });
  }

  /**
   * @param {number} id
   * @param {string} label
   */
  rename(id, label) {
    const trimmed = label.trim();
    if (trimmed && trimmed !== findObject(this.#document, id)?.label) {
      this.#record(changeObject(this.#document, id, { label: trimmed, source: "edited" }));
    }
  }

  /**
   * @param {number} id
   * @param {number} color
   */
  recolor(id, color) {
    this.#record(changeObject(this.#document, id, { color }));
  }

  /**
   * @param {number} id
   * @param {boolean} visible
   */
  setVisible(id, visible) {
    this.#record(changeObject(this.#document, id, { visible }));
  }

  /** @param {boolean} visible */
  setAllVisible(visible) {
    this.#record(showAll(this.#document, visible));
  }

  /** Delete the selected objects. */
  removeSelected() {
    const selected = selectedObjects(this.state);
    if (selected.length === 0) return;
    this.#record(removeObjects(this.#document, selected.map(({ id }) => id)));
    this.store.set({ selection: [] });
    this.#notices.announce(`${selected.map(nameOf).join(", ")} deleted. Undo brings it back.`);
  }

  /** Merge the selected objects into the one that was selected first. */
  mergeSelected() {
    const selected = selectedObjects(this.state);
    if (selected.length < 2) return;
    const union = unionOf(selected.map(({ mask }) => bitmapOf(mask)));
    const mask = encodeMask(union, selected[0].mask.size);
    this.#record(mergeObjects(this.#document, selected.map(({ id }) => id), mask));
    this.store.set({ selection: [selected[0].id] });
    this.#notices.announce(`${selected.length} objects merged.`);
  }

  /**
   * Select an object, or none; with `isAdded` beside those that are.
   * @param {number | null} id
   * @param {boolean} isAdded
   */
  select(id, isAdded = false) {
    const { selection } = this.state;
    if (id === null) this.store.set({ selection: [] });
    else if (!isAdded) this.store.set({ selection: [id] });
    else if (selection.includes(id)) this.store.set({ selection: selection.filter((each) => each !== id) });
    else this.store.set({ selection: [...selection, id] });
  }

  /**
   * Select the smallest of some objects at a position.
   * @param {Position} position
   * @param {boolean} isAdded
   * @param {PhotoObject[]} objects
   */
  selectAt([x, y], isAdded, objects) {
    const hits = objects.filter(({ mask }) => isInside(bitmapOf(mask), x, y));
    const size = (/** @type {PhotoObject} */ { mask }) => bitmapOf(mask).data.length;
    hits.sort((a, b) => size(a) - size(b));
    this.select(hits[0]?.id ?? null, isAdded);
  }

  /** @param {ToolName} tool */
  chooseTool(tool) {
    const { intent: chosen } = this.state;
    const intent = chosen === "remove" && !takesRemoval(tool) ? "new" : chosen;
    this.store.set({ tool, intent, preview: null });
  }

  /** @param {Intent} intent */
  chooseIntent(intent) {
    const { tool: chosen } = this.state;
    const tool = intent === "remove" && !takesRemoval(chosen) ? "click" : chosen;
    this.store.set({ intent, tool, preview: null });
  }

  /**
   * @param {string[]} classes
   * @param {boolean} usesClasses
   */
  setClasses(classes, usesClasses) {
    this.store.set({ classes, usesClasses });
  }

  /** Give up what has been asked. */
  cancel() {
    this.#cancellation.abort();
    this.#cancellation = new AbortController();
    this.#queue = Promise.resolve();
    this.store.set({ pending: [], task: null, preview: null });
  }

  // Inside

  get #document() {
    return this.state.history.present;
  }

  /** @param {import("./types.js").PhotoDocument} document */
  #record(document) {
    this.store.set({ history: record(this.state.history, document) });
  }

  /**
   * @param {Pick<PhotoObject, "prompts" | "score" | "mask" | "label">} fields
   * @returns {number}
   */
  #addOne(fields) {
    const id = this.#document.nextId;
    const phrase = fields.prompts.find((prompt) => prompt.kind === "text")?.phrase;
    const label = fields.label ?? phrase ?? null;
    this.#record(addObjects(this.#document, [{ ...fields, label, visible: true, erased: [], source: "marks" }]));
    return id;
  }

  /**
   * @param {import("./types.js").Rle} mask
   * @param {StrokePrompt[]} erased
   */
  #withoutErased(mask, erased) {
    if (erased.length === 0) return mask;
    return encodeMask(eraseStrokes(bitmapOf(mask), erased), mask.size);
  }

  /** @param {number} id */
  #announceObject(id) {
    const object = findObject(this.#document, id);
    if (!object) return;
    this.#notices.announce(`${nameOf(object)}, ${Math.round(object.score * 100)} percent sure.`);
  }

  /**
   * Tell what the page waits for.
   * @param {string} text
   * @param {number | null} fraction  0-1; null where nobody knows
   */
  setTask(text, fraction = null) {
    this.store.set({ task: { text, fraction } });
  }

  /**
   * Show what went wrong, and the way out.
   * @param {unknown} error
   * @param {() => void} [retry]
   */
  report(error, retry) {
    if (isAbort(error)) return;
    if (error instanceof EngineError && error.kind === "unauthorized") {
      this.#notices.askForToken((token) => {
        this.#engine.useToken(token);
        retry?.();
      });
      return;
    }
    const text = error instanceof EngineError ? error.message : "Something went wrong in this page; reload it.";
    if (!(error instanceof EngineError)) console.error(error);
    this.#notices.show(text, retry && { label: "Try again", run: retry });
  }
}

/**
 * Return the prompts that describe an object so far; its mask where it has none.
 * @param {PhotoObject | undefined} object
 * @returns {Prompt[]}
 */
function promptsOf(object) {
  if (!object) return [];
  return object.prompts.length > 0 ? object.prompts : [{ kind: "mask", rle: object.mask }];
}

/**
 * @param {{label: string | null, score: number, mask: import("./types.js").Rle}} found
 * @param {string} source
 * @returns {NewObject}
 */
function newObject({ label, score, mask }, source) {
  return { label, score, mask, visible: true, prompts: [], erased: [], source };
}
