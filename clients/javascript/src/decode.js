// Files, masks and vectors in answers.

import { decodeIndexedPng } from "./png.js";
import { decodeRuns } from "./rle.js";

export const NO_CLASS = 255; // the class id of pixels that a mask of run lengths leaves out

/**
 * Return a mask, an overlay or a confidence map as a Blob, for `createImageBitmap` or `URL.createObjectURL`.
 * @param {import("./results.js").EncodedImage} image
 * @returns {Blob}
 */
export function toBlob({ format, data }) {
  return new Blob([bytesOf(data)], { type: `image/${format}` });
}

/**
 * Return the class ids of a segmentation mask, row by row. Throw an `Error` for a damaged mask.
 * @param {import("./results.js").EncodedImage | import("./results.js").RunLengths} mask
 * @returns {Promise<import("./png.js").ClassMap>}
 */
export async function toClassIds(mask) {
  if (mask.format !== "rle") return decodeIndexedPng(bytesOf(mask.data));
  const { width, height } = mask;
  const ids = new Uint8Array(width * height).fill(NO_CLASS);
  for (const { class_id, ...runs } of mask.masks) {
    decodeRuns(runs).forEach((inside, index) => {
      if (inside) ids[index] = class_id;
    });
  }
  return { width, height, ids };
}

/**
 * Return the pixels of a detection or a class, row by row: 1 inside, else 0. Throw a `RangeError` for damaged runs.
 * @param {import("./results.js").Runs} mask
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function toPixels(mask) {
  return decodeRuns(mask);
}

/**
 * Return the outline of polygons as path data of SVG, for `new Path2D(text)` and `<path d="..." fill-rule="evenodd">`.
 * @param {import("./results.js").MultiPolygon} shape a detection's mask, or the `geometry` of a feature
 * @returns {string}
 */
export function toPath({ coordinates }) {
  return coordinates
    .flatMap((rings) => rings.map((ring) => `M${ring.map((point) => point.join(" ")).join("L")}Z`))
    .join("");
}

/**
 * Return the vector of an embedding.
 * @param {import("./results.js").Embedding} answer
 * @returns {Float32Array}
 */
export function toVector({ embedding }) {
  const view = new DataView(bytesOf(embedding.data).buffer);
  return Float32Array.from({ length: embedding.dimensions }, (_, index) => view.getFloat32(4 * index, true));
}

/**
 * @param {string} text base64
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
