/** ZIP files of things that are compressed already. */

import { checksum } from "./crc.js";
import { joined } from "./png_file.js";

const VERSION = 20;
const UTF8_NAMES = 0x0800;
const FIRST_DAY = 0x21; // 1980-01-01: the same content gives the same file

/**
 * Write files into an archive without compressing them.
 * @param {{name: string, content: Uint8Array}[]} files
 * @returns {Blob}
 */
export function zipFile(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, content } of files) {
    const encodedName = new TextEncoder().encode(name);
    const common = commonFields(encodedName, content);
    const local = joined([fields([0x04034b50, 4]), common, encodedName, content]);
    parts.push(local);
    directory.push(
      joined([
        fields([0x02014b50, 4], [VERSION, 2]),
        common,
        fields([0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]),
        encodedName,
      ]),
    );
    offset += local.length;
  }
  const list = joined(directory);
  const end = fields([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [list.length, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, list, end], { type: "application/zip" });
}

/**
 * @param {Uint8Array} name
 * @param {Uint8Array} content
 */
function commonFields(name, content) {
  return fields(
    [VERSION, 2],
    [UTF8_NAMES, 2],
    [0, 2], // stored
    [0, 2], // midnight
    [FIRST_DAY, 2],
    [checksum(content), 4],
    [content.length, 4],
    [content.length, 4],
    [name.length, 2],
    [0, 2],
  );
}

/**
 * Write numbers, each in so many bytes, the lowest first.
 * @param {...[number, number]} values
 */
function fields(...values) {
  const bytes = [];
  for (const [value, size] of values) {
    for (let i = 0; i < size; i += 1) bytes.push((value >>> (8 * i)) & 0xff);
  }
  return Uint8Array.from(bytes);
}
