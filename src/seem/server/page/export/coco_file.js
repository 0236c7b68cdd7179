/** COCO's instances file, made in the browser: what the server's `coco` export holds. */

/** @import {Rle} from "../types.js" */

import { areaOf, bitmapOf } from "../masks/bitmap.js";

/**
 * @typedef {{mask: Rle, label: string | null, score: number}} Annotation
 * @typedef {{name: string, width: number, height: number, objects: Annotation[]}} AnnotatedImage
 * @typedef {{images: AnnotatedImage[]}} ExportRequest
 */

const NO_NAME = "object";

/**
 * Return a JSON file of annotated images.
 * @param {ExportRequest} request
 */
export function cocoFile({ images }) {
  const labelOf = (/** @type {Annotation} */ { label }) => label ?? NO_NAME;
  const names = [...new Set(images.flatMap(({ objects }) => objects.map(labelOf)))].sort();
  const annotations = images.flatMap(({ objects }, i) =>
    objects.map((object) => ({ ...annotationOf(object), image_id: i + 1, category_id: names.indexOf(labelOf(object)) + 1 })),
  );
  const content = {
    images: images.map(({ name, width, height }, i) => ({ id: i + 1, file_name: name, width, height })),
    annotations: annotations.map((annotation, i) => ({ id: i + 1, ...annotation })),
    categories: names.map((name, i) => ({ id: i + 1, name })),
  };
  return new Blob([JSON.stringify(content)], { type: "application/json" });
}

/** @param {Annotation} annotation */
function annotationOf({ mask, score }) {
  const bitmap = bitmapOf(mask);
  const { x, y, width, height } = bitmap;
  return { segmentation: mask, bbox: [x, y, width, height], area: areaOf(bitmap), iscrowd: 0, score };
}
