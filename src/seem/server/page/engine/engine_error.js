/** An answer that is no answer: what went wrong, in words that a person can read. */
export class EngineError extends Error {
  /**
   * @param {string} kind  as in the API's problems, or "unreachable"
   * @param {string} message
   * @param {number | null} retryAfter  seconds
   */
  constructor(kind, message, retryAfter = null) {
    super(message);
    this.name = "EngineError";
    this.kind = kind;
    this.retryAfter = retryAfter;
  }

  /** Whether the engine has forgotten an image: it has to be encoded again. */
  get isForgotten() {
    return this.kind === "gone" || this.kind === "not-found";
  }
}

/**
 * Tell whether an error only says that nobody waits any more.
 * @param {unknown} error
 */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}
