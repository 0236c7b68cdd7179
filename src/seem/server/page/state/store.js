/**
 * One value that changes, and those who want to know.
 * @template T
 */
export class Store {
  /** @type {T} */
  #state;
  /** @type {Set<(state: T, previous: T) => void>} */
  #listeners = new Set();

  /** @param {T} state */
  constructor(state) {
    this.#state = state;
  }

  get state() {
    return this.#state;
  }

  /**
   * Change some fields.
   * @param {Partial<T>} changes
   */
  set(changes) {
    const previous = this.#state;
    this.#state = { ...previous, ...changes };
    for (const listener of this.#listeners) listener(this.#state, previous);
  }

  /**
   * Call a function after every change, and once now.
   * @param {(state: T, previous: T) => void} listener
   */
  subscribe(listener) {
    this.#listeners.add(listener);
    listener(this.#state, this.#state);
  }
}

/**
 * Wrap a listener so that it runs only when one of the selected values has changed.
 * @template T
 * @param {(state: T) => unknown[]} select
 * @param {(state: T) => void} listener
 * @returns {(state: T) => void}
 */
export function whenChanged(select, listener) {
  /** @type {unknown[] | null} */
  let last = null;
  return (state) => {
    const selected = select(state);
    if (last && selected.every((value, i) => value === /** @type {unknown[]} */ (last)[i])) return;
    last = selected;
    listener(state);
  };
}
