/** Short ways to make and find elements. */

/**
 * Find the element with an id.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no element ${id}.`);
  return found;
}

/**
 * Make an element. `on` has listeners by event; other names are attributes, where null and false are left out.
 * @param {string} tag
 * @param {Record<string, any>} attributes
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function element(tag, attributes = {}, ...children) {
  const { on = {}, ...rest } = attributes;
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [event, listener] of Object.entries(on)) made.addEventListener(event, listener);
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make one of the icons.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * Show another icon in a button.
 * @param {HTMLElement} button
 * @param {string} name
 */
export function setIcon(button, name) {
  button.querySelector("use")?.setAttribute("href", `#icon-${name}`);
}

/**
 * Make the buttons of a group exclude each other: arrow keys move, one of them is in the order of tabs.
 * @param {HTMLElement} group
 * @param {string} key  the data attribute that tells the buttons apart
 * @param {(value: string) => void} choose
 * @returns {(value: string) => void}  shows which one is chosen
 */
export function radioGroup(group, key, choose) {
  const buttons = /** @type {HTMLButtonElement[]} */ ([...group.querySelectorAll('[role="radio"]')]);
  for (const button of buttons) {
    button.addEventListener("click", () => choose(button.dataset[key] ?? ""));
  }
  group.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const enabled = buttons.filter((button) => !button.disabled);
    const index = enabled.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    if (!step || index < 0) return;
    event.preventDefault();
    const next = enabled[(index + step + enabled.length) % enabled.length];
    next.focus();
    next.click();
  });
  return (value) => {
    for (const button of buttons) {
      const isChosen = button.dataset[key] === value;
      button.setAttribute("aria-checked", String(isChosen));
      button.tabIndex = isChosen ? 0 : -1;
    }
  };
}

/**
 * Save a file on the person's machine.
 * @param {Blob} file
 * @param {string} name
 */
export function download(file, name) {
  const address = URL.createObjectURL(file);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/**
 * Let the close buttons of a dialog, and a press beside it, close it.
 * @param {HTMLDialogElement} dialog
 */
export function closable(dialog) {
  for (const button of dialog.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => dialog.close());
  }
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}
