/** Grey PNG files whose values are exact, which a canvas does not promise. */

import { checksum } from "./crc.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const GREY = 0;

/**
 * Write values as a grey picture of 8 or 16 bits.
 * @param {Uint8Array | Uint16Array} values  row by row
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Uint8Array>}
 */
export async function greyPng(values, width, height) {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, values.BYTES_PER_ELEMENT * 8);
  header.setUint8(9, GREY);
  const pixels = await deflate(scanLines(values, width, height));
  return joined([
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("IDAT", pixels),
    chunk("IEND", new Uint8Array(0)),
  ]);
}

/**
 * @param {Uint8Array | Uint16Array} values
 * @param {number} width
 * @param {number} height
 */
function scanLines(values, width, height) {
  const size = values.BYTES_PER_ELEMENT;
  const lines = new Uint8Array(height * (1 + width * size)); // a line begins with its filter: none
  for (let row = 0; row < height; row += 1) {
    let position = row * (1 + width * size) + 1;
    for (let column = 0; column < width; column += 1) {
      const value = values[row * width + column];
      if (size === 2) lines[position++] = value >> 8;
      lines[position++] = value & 0xff;
    }
  }
  return lines;
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
async function deflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * @param {string} type
 * @param {Uint8Array} data
 */
function chunk(type, data) {
  const body = joined([new TextEncoder().encode(type), data]);
  return joined([bigEndian(data.length), body, bigEndian(checksum(body))]);
}

/** @param {number} value */
function bigEndian(value) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/**
 * Return parts one after the other.
 * @param {Uint8Array[]} parts
 */
export function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let position = 0;
  for (const part of parts) {
    bytes.set(part, position);
    position += part.length;
  }
  return bytes;
}
