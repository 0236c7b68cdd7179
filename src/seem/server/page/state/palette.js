/**
 * Colours of objects. The first seven are those of Okabe and Ito (2008), which people with any kind of colour vision
 * tell apart; the others are from Paul Tol's "muted" scheme.
 */
export const PALETTE = [
  { name: "sky blue", css: "#56b4e9" },
  { name: "orange", css: "#e69f00" },
  { name: "green", css: "#009e73" },
  { name: "pink", css: "#cc79a7" },
  { name: "yellow", css: "#f0e442" },
  { name: "vermilion", css: "#d55e00" },
  { name: "blue", css: "#0072b2" },
  { name: "olive", css: "#999933" },
  { name: "wine", css: "#882255" },
  { name: "indigo", css: "#332288" },
];

/**
 * Return a colour; indices go round.
 * @param {number} index
 */
export function colorAt(index) {
  return PALETTE[index % PALETTE.length];
}

/**
 * Return the red, green and blue of a colour, 0-255.
 * @param {number} index
 * @returns {[number, number, number]}
 */
export function rgbAt(index) {
  const value = Number.parseInt(colorAt(index).css.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
