/** Messages: what went wrong and the way out, and what a screen reader says. */

import { byId, closable, element, icon } from "../dom.js";

const SHOWN_SECONDS = 9;

/** @typedef {{label: string, run: () => void}} NoticeAction */

export class Notices {
  #root = byId("notices");
  #announcements = byId("announcements");

  /**
   * Show a message; with an action it stays until it is answered.
   * @param {string} text
   * @param {NoticeAction} [action]
   */
  show(text, action) {
    const close = () => notice.remove();
    const notice = element("div", { class: "notice" }, element("p", {}, text));
    if (action) {
      const act = () => {
        close();
        action.run();
      };
      notice.append(element("button", { class: "text-button", type: "button", on: { click: act } }, action.label));
    }
    const closing = { class: "icon-button small", type: "button", "aria-label": "Close the message", on: { click: close } };
    notice.append(element("button", closing, icon("close")));
    this.#root.replaceChildren(notice);
    if (!action) setTimeout(close, SHOWN_SECONDS * 1000);
  }

  /** Remove what is shown. */
  clear() {
    this.#root.replaceChildren();
  }

  /**
   * Say something to those who do not see the page.
   * @param {string} text
   */
  announce(text) {
    this.#announcements.textContent = text;
  }

  /**
   * Ask for the token of the server.
   * @param {(token: string) => void} use
   */
  askForToken(use) {
    const dialog = byId("token-dialog");
    const input = byId("token");
    closable(dialog);
    byId("token-form").onsubmit = () => {
      use(input.value.trim());
      input.value = "";
    };
    if (!dialog.open) dialog.showModal();
  }
}
