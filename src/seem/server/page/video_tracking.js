/** Videos: the first frame is a photo like any other; its objects are followed through the other frames. */

/** @import {PhotoObject, Prompt, Rle} from "./types.js" */
/** @import {Workspace} from "./workspace.js" */

import { pause } from "./engine/server_engine.js";
import { EngineError } from "./engine/engine_error.js";
import { objectsOf, selectedObjects } from "./state/app_state.js";
import { findObject } from "./state/document.js";

const POLL_SECONDS = 0.4;

/**
 * @typedef {object} Video
 * @property {Blob} file
 * @property {string} name
 * @property {string} id  what the engine calls it
 * @property {Correction[]} [corrections]
 *
 * @typedef {{id: number, frame: number, mask: Rle}} Correction  how an object looks in a later frame
 *
 * @typedef {object} TrackedFrame
 * @property {number} frame
 * @property {number | null} time  seconds
 * @property {{id: number, score: number, mask: Rle}[]} objects
 *
 * @typedef {{jobId: string, frames: TrackedFrame[]}} Track
 */

export class VideoTracking {
  #workspace;

  /** @param {Workspace} workspace */
  constructor(workspace) {
    this.#workspace = workspace;
  }

  /**
   * Upload a video and show its first frame.
   * @param {Blob} file
   * @param {string} name
   */
  open(file, name) {
    const workspace = this.#workspace;
    const { engine } = workspace;
    if (!engine.takesVideos) {
      workspace.notices.show("Videos need the server; start it with: seem serve.");
      return;
    }
    workspace.close();
    workspace.enqueue(async (signal) => {
      workspace.setTask("Uploading the video");
      const onProgress = (/** @type {number} */ fraction) =>
        workspace.setTask("Uploading the video", fraction < 1 ? fraction : null);
      const { id } = await engine.uploadVideo(file, name, { signal, onProgress });
      const frame = await engine.encodeFrame(id, 0);
      const picture = await engine.picture(frame.id);
      if (signal.aborted) return;
      await workspace.open(picture, name, { imageId: frame.id, video: { file, name, id } });
    });
  }

  /** Follow the objects of the first frame; frames are shown as they come. */
  track() {
    const workspace = this.#workspace;
    if (objectsOf(workspace.state).length === 0) {
      workspace.notices.show("Mark an object in the first frame; then it can be followed.");
      return;
    }
    workspace.enqueue(async (signal) => {
      workspace.setTask("Following");
      const { id: jobId } = await this.#begin(signal);
      try {
        await this.#receive(jobId, signal);
      } finally {
        if (signal.aborted) workspace.engine.stopJob(jobId).catch(() => {}); // it ends by itself, too
      }
    });
  }

  /**
   * Begin the job.
   * @param {AbortSignal} signal
   */
  async #begin(signal) {
    const { engine, state } = this.#workspace;
    const corrected = correctionsOf(state).map(({ id, frame, mask }) => {
      return { id, frame, prompts: [/** @type {Prompt} */ ({ kind: "mask", rle: mask })] };
    });
    const objects = [...(await this.#workspace.trackedObjects()), ...corrected];
    return this.#withVideo((id) => engine.track(id, objects), signal);
  }

  /**
   * Do something with the video; one that the engine has forgotten is uploaded again.
   * @template T
   * @param {(id: string) => Promise<T>} use
   * @param {AbortSignal} signal
   * @returns {Promise<T>}
   */
  async #withVideo(use, signal) {
    const { engine, store } = this.#workspace;
    const video = /** @type {Video} */ (store.state.video);
    try {
      return await use(video.id);
    } catch (error) {
      if (!(error instanceof EngineError) || !error.isForgotten) throw error;
      const { id } = await engine.uploadVideo(video.file, video.name, { signal });
      store.set({ video: { ...video, id } });
      return use(id);
    }
  }

  /**
   * Correct the selected object in the frame that is shown; the frames after it change when it is followed again.
   * @param {Prompt} prompt
   */
  correct(prompt) {
    const workspace = this.#workspace;
    const { frame } = workspace.state;
    const [object] = selectedObjects(workspace.state);
    if (!object) {
      workspace.notices.show("Select the object to correct in this frame.");
      return;
    }
    workspace.enqueue(async (signal) => {
      workspace.setTask("Correcting");
      const { engine, state } = workspace;
      const before = state.track?.frames[frame]?.objects.find(({ id }) => id === object.id);
      const image = await this.#withVideo((id) => engine.encodeFrame(id, frame), signal);
      const prompts = before ? [/** @type {Prompt} */ ({ kind: "mask", rle: before.mask }), prompt] : [prompt];
      const answer = await engine.segment(image.id, prompts, {}, { signal });
      const [found] = answer.objects;
      if (!found || found.area === 0) throw new EngineError("empty", "Nothing would be left of the object here.");
      this.#setCorrection({ id: object.id, frame, mask: found.mask }, found.score);
    });
  }

  /**
   * @param {Correction} correction
   * @param {number} score
   */
  #setCorrection(correction, score) {
    const { store } = this.#workspace;
    const { id, frame, mask } = correction;
    const { track } = store.state;
    const video = /** @type {Video} */ (store.state.video);
    const others = correctionsOf(store.state).filter((each) => each.id !== id || each.frame !== frame);
    const frames = (track?.frames ?? []).map((each) => {
      if (each.frame !== frame) return each;
      return { ...each, objects: [...each.objects.filter((object) => object.id !== id), { id, score, mask }] };
    });
    store.set({ video: { ...video, corrections: [...others, correction] }, track: track && { ...track, frames } });
  }

  /**
   * Take the frames of a job as they are done.
   * @param {string} jobId
   * @param {AbortSignal} signal
   */
  async #receive(jobId, signal) {
    const { engine, store, notices } = this.#workspace;
    /** @type {TrackedFrame[]} */
    let frames = [];
    for (;;) {
      const job = await engine.job(jobId);
      const answer = await engine.jobFrames(jobId, frames.length);
      if (signal.aborted) return;
      frames = [...frames, ...answer.frames];
      store.set({ track: { jobId, frames } });
      this.#showProgress(frames.length, job.frames_total);
      if (job.problem) throw new EngineError("failed", job.problem.detail);
      const isRunning = job.status === "queued" || job.status === "running";
      if (!isRunning && frames.length >= job.frames_done) break;
      if (answer.frames.length === 0) await pause(POLL_SECONDS, signal);
    }
    notices.announce(`Followed through ${frames.length} frames.`);
  }

  /**
   * @param {number} done
   * @param {number | null} total
   */
  #showProgress(done, total) {
    const text = total ? `Following, frame ${done} of ${total}` : `Following, frame ${done}`;
    this.#workspace.setTask(text, total ? done / total : null);
  }
}

/**
 * Return the corrections of objects that are still there.
 * @param {import("./state/app_state.js").AppState} state
 * @returns {Correction[]}
 */
function correctionsOf({ video, history }) {
  return (video?.corrections ?? []).filter(({ id }) => findObject(history.present, id));
}

/**
 * Return the objects of a frame that has been tracked, with the names and colours of the first one.
 * @param {import("./state/app_state.js").AppState} state
 * @returns {PhotoObject[]}
 */
export function objectsOfFrame(state) {
  const tracked = state.track?.frames[state.frame]?.objects ?? [];
  return tracked.flatMap(({ id, score, mask }) => {
    const object = findObject(state.history.present, id);
    return object ? [{ ...object, score, mask }] : [];
  });
}
