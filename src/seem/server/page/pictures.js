/** Files of pictures, decoded and made small. */

const THUMBNAIL_SIDE = 240;

/**
 * Decode a picture as it is shown: upright. Null where this browser cannot.
 * @param {Blob} file
 * @returns {Promise<ImageBitmap | null>}
 */
export async function decodePicture(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    return null;
  }
}

/**
 * Return a small JPEG file of a picture.
 * @param {ImageBitmap} picture
 * @returns {Promise<Blob>}
 */
export function thumbnailOf(picture) {
  const scale = Math.min(THUMBNAIL_SIDE / Math.max(picture.width, picture.height), 1);
  const width = Math.max(Math.round(picture.width * scale), 1);
  const height = Math.max(Math.round(picture.height * scale), 1);
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(picture, 0, 0, width, height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
}

/**
 * Tell whether a file is a video.
 * @param {File} file
 */
export function isVideo(file) {
  return file.type.startsWith("video/") || /\.(mp4|mov|mkv|webm|avi|m4v)$/i.test(file.name);
}
