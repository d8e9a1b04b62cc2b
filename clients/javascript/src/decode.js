// Files and vectors in answers.

/**
 * Return a mask, an overlay or a confidence map as a Blob, for `createImageBitmap` or `URL.createObjectURL`.
 * @param {import("./results.js").EncodedImage} image
 * @returns {Blob}
 */
export function toBlob({ format, data }) {
  return new Blob([bytesOf(data)], { type: `image/${format}` });
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
