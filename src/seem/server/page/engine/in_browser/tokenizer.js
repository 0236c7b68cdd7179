/** Phrases to token ids, by the byte pairs of `tokenizer.json`. */

const WORDS = /'(?:s|t|re|ve|m|ll|d)|[\p{L}\p{Nl}\p{No}]+|\p{Nd}|[^\s\p{L}\p{N}]+/gu;
const WORD_END = "</w>";

/**
 * Return the character that stands for each of the 256 bytes: itself if it prints, else one from U+0100 on.
 * @returns {string[]}
 */
function byteCharacters() {
  const printed = (/** @type {number} */ byte) =>
    (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  let borrowed = 0x100;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printed(byte) ? byte : borrowed++),
  );
}

export class Tokenizer {
  #characters = byteCharacters();
  #ids;
  /** @type {Map<string, number>} */
  #ranks;
  #rules;

  /**
   * @param {{model: {vocab: Record<string, number>, merges: (string | string[])[]}}} file
   * @param {{begin: number, end: number, context: number}} rules
   */
  constructor({ model }, rules) {
    this.#ids = model.vocab;
    this.#ranks = new Map(model.merges.map((merge, rank) => [[merge].flat().join(" "), rank]));
    this.#rules = rules;
  }

  /**
   * Return the tokens of a phrase, with those of its begin and its end.
   * @param {string} phrase
   * @returns {number[]}
   */
  tokens(phrase) {
    const { begin, end, context } = this.#rules;
    const words = phrase.normalize("NFC").toLowerCase().match(WORDS) ?? [];
    const inside = words.flatMap((word) => this.#split(word));
    return [begin, ...inside.slice(0, context - 2), end];
  }

  /**
   * Join the bytes of a word, the best pair first, until no pair is left; return the ids of its parts.
   * @param {string} word
   * @returns {number[]}
   */
  #split(word) {
    const parts = Array.from(new TextEncoder().encode(word), (byte) => this.#characters[byte]);
    parts[parts.length - 1] += WORD_END;
    for (;;) {
      const ranks = parts.slice(1).map((part, i) => this.#ranks.get(`${parts[i]} ${part}`) ?? Infinity);
      const best = Math.min(...ranks);
      if (best === Infinity) return parts.map((part) => this.#ids[part]);
      const i = ranks.indexOf(best);
      parts.splice(i, 2, parts[i] + parts[i + 1]);
    }
  }
}
