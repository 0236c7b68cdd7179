/** Plays a video with the masks of its frames. */

/** @import {AppState} from "../state/app_state.js" */
/** @import {VideoTracking} from "../video_tracking.js" */
/** @import {Workspace} from "../workspace.js" */

import { byId, element, setIcon } from "../dom.js";
import { whenChanged } from "../state/store.js";

const INTO_FRAME = 0.001; // seconds: the beginning of a frame may be rounded into the one before

export class VideoPlayer {
  /** @type {HTMLVideoElement} */
  #video = element("video", { muted: true, playsinline: true, preload: "auto" });
  #workspace;
  #redraw;

  /**
   * @param {Workspace} workspace
   * @param {VideoTracking} tracking
   * @param {() => void} redraw
   */
  constructor(workspace, tracking, redraw) {
    this.#workspace = workspace;
    this.#redraw = redraw;
    this.#video.muted = true;
    this.#video.addEventListener("seeked", redraw);
    this.#video.addEventListener("ended", () => this.#showPlaying());
    byId("player-track").addEventListener("click", () => tracking.track());
    byId("player-play").addEventListener("click", () => this.toggle());
    const position = byId("player-position");
    position.addEventListener("input", () => this.#goTo(Number(position.value)));
    const { store } = workspace;
    store.subscribe(whenChanged(({ video }) => [video?.file], (state) => this.#load(state)));
    store.subscribe(whenChanged(({ video, track, frame }) => [video, track, frame], showPlayer));
  }

  /** What is drawn under the masks: null while the first frame is shown, which is a photo. */
  get picture() {
    return this.#workspace.state.frame > 0 ? this.#video : null;
  }

  /** Play, or pause. */
  toggle() {
    if (this.#video.paused) this.#play();
    else this.#video.pause();
    this.#showPlaying();
  }

  async #play() {
    const { frame, track } = this.#workspace.state;
    if (!track) return;
    if (frame >= track.frames.length - 1) this.#goTo(0);
    try {
      await this.#video.play();
      this.#follow();
    } catch {
      this.#workspace.notices.show("This browser cannot play the video; its tracks can be exported all the same.");
    }
    this.#showPlaying();
  }

  /** Show the masks of the frame that plays, until it pauses. */
  #follow() {
    const { store } = this.#workspace;
    const frames = store.state.track?.frames ?? [];
    const time = this.#video.currentTime + INTO_FRAME;
    const next = frames.findIndex((frame) => frame.time !== null && frame.time > time);
    const frame = next < 0 ? frames.length - 1 : Math.max(next - 1, 0);
    if (frame !== store.state.frame) store.set({ frame });
    this.#redraw();
    if (!this.#video.paused && store.state.video) requestAnimationFrame(() => this.#follow());
    else this.#showPlaying();
  }

  /** @param {number} frame */
  #goTo(frame) {
    const { store } = this.#workspace;
    const time = store.state.track?.frames[frame]?.time;
    if (time != null) this.#video.currentTime = time + INTO_FRAME;
    store.set({ frame, preview: null });
  }

  /** @param {AppState} state */
  #load({ video }) {
    this.#video.pause();
    if (this.#video.src) URL.revokeObjectURL(this.#video.src);
    this.#video.removeAttribute("src");
    if (video) this.#video.src = URL.createObjectURL(video.file);
  }

  #showPlaying() {
    const button = byId("player-play");
    setIcon(button, this.#video.paused ? "play" : "pause");
    button.setAttribute("aria-label", this.#video.paused ? "Play" : "Pause");
  }
}

/** @param {AppState} state */
function showPlayer({ video, track, frame }) {
  byId("player").hidden = video === null;
  const count = track?.frames.length ?? 0;
  byId("player-play").disabled = count === 0;
  byId("player-track").textContent = video?.corrections?.length ? "Follow again" : "Follow through the video";
  const position = byId("player-position");
  position.disabled = count === 0;
  position.max = String(Math.max(count - 1, 0));
  position.value = String(frame);
  byId("player-frame").textContent = count > 0 ? `${frame + 1} / ${count}` : "";
}
