/**
 * Undo and redo as pure functions over immutable values.
 *
 * @template T
 * @typedef {{past: T[], present: T, future: T[]}} History
 */

const MAX_STEPS = 100;

/**
 * @template T
 * @param {T} present
 * @returns {History<T>}
 */
export function startHistory(present) {
  return { past: [], present, future: [] };
}

/**
 * Make `next` the present; what was undone is gone.
 * @template T
 * @param {History<T>} history
 * @param {T} next
 * @returns {History<T>}
 */
export function record(history, next) {
  if (next === history.present) return history;
  const past = [...history.past, history.present].slice(-MAX_STEPS);
  return { past, present: next, future: [] };
}

/**
 * Change the present without a step of its own.
 * @template T
 * @param {History<T>} history
 * @param {T} next
 * @returns {History<T>}
 */
export function amend(history, next) {
  return next === history.present ? history : { ...history, present: next };
}

/**
 * @template T
 * @param {History<T>} history
 * @returns {History<T>}
 */
export function undo(history) {
  if (!canUndo(history)) return history;
  const { past, present, future } = history;
  return { past: past.slice(0, -1), present: past[past.length - 1], future: [present, ...future] };
}

/**
 * @template T
 * @param {History<T>} history
 * @returns {History<T>}
 */
export function redo(history) {
  if (!canRedo(history)) return history;
  const { past, present, future } = history;
  return { past: [...past, present], present: future[0], future: future.slice(1) };
}

/** @param {History<unknown>} history */
export function canUndo(history) {
  return history.past.length > 0;
}

/** @param {History<unknown>} history */
export function canRedo(history) {
  return history.future.length > 0;
}
