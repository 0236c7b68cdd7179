/** The mask that a click would give, while the pointer is over the photo. */

/** @import {Position, Prompt, Rle} from "./types.js" */
/** @import {Workspace} from "./workspace.js" */

import { bitmapOf } from "./masks/bitmap.js";
import { objectsOf, selectedObjects } from "./state/app_state.js";

const REST_MILLISECONDS = 60; // how long the pointer rests before the engine is asked
const GIVE_UP_DISTANCE = 12; // pixels of the photo: an answer about a place this far away is not shown

export class HoverPreview {
  #workspace;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {AbortController | null} */
  #asking = null;
  /** @type {Position} */
  #askedAt = [0, 0];

  /** @param {Workspace} workspace */
  constructor(workspace) {
    this.#workspace = workspace;
  }

  /**
   * The pointer is over this position, or over none.
   * @param {Position | null} position
   */
  moveTo(position) {
    clearTimeout(this.#timer);
    const { state } = this.#workspace;
    const isBusy = state.task !== null || state.pending.length > 0;
    const isPointless = state.intent === "remove" && selectedObjects(state).length === 0;
    if (!position || state.tool !== "click" || state.frame > 0 || isBusy || isPointless) {
      this.#stop();
      return;
    }
    const [x, y] = position;
    if (this.#asking && Math.hypot(x - this.#askedAt[0], y - this.#askedAt[1]) < GIVE_UP_DISTANCE) return;
    this.#asking?.abort();
    this.#timer = setTimeout(() => this.#ask(position), REST_MILLISECONDS);
  }

  #stop() {
    this.#asking?.abort();
    this.#asking = null;
    if (this.#workspace.state.preview) this.#workspace.store.set({ preview: null });
  }

  /** @param {Position} position */
  async #ask(position) {
    const asking = new AbortController();
    this.#asking = asking;
    this.#askedAt = position;
    try {
      const answer = await this.#workspace.askFor(this.#promptsAt(position), {}, asking.signal);
      if (asking.signal.aborted || this.#workspace.state.pending.length > 0) return;
      const found = answer.objects[0];
      const isNew = found && !this.#isShown(found.mask);
      this.#workspace.store.set({ preview: isNew ? bitmapOf(found.mask) : null });
    } catch {
      // A preview that fails is none; the click itself reports what is wrong.
    } finally {
      if (this.#asking === asking) this.#asking = null;
    }
  }

  /**
   * Tell whether an object has this mask already.
   * @param {Rle} mask
   */
  #isShown({ counts }) {
    return objectsOf(this.#workspace.state).some(({ mask }) => mask.counts === counts);
  }

  /**
   * @param {Position} position
   * @returns {Prompt[]}
   */
  #promptsAt([x, y]) {
    const { state } = this.#workspace;
    const selected = state.intent === "new" ? undefined : selectedObjects(state)[0];
    /** @type {Prompt} */
    const point = { kind: "point", x: Math.floor(x), y: Math.floor(y), positive: state.intent !== "remove" };
    return [...(selected?.prompts ?? []), point];
  }
}
