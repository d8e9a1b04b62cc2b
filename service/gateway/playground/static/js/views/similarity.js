// The cosine similarity of each pair of images.

import { element } from "../dom.js";
import { bytesOf } from "../service.js";

/**
 * Return a table of the similarities of all images that were answered.
 * @param {import("../service.js").Answer} answer
 * @param {readonly import("../images.js").Upload[]} uploads
 * @returns {HTMLElement}
 */
export function similarityView(answer, uploads) {
  const rows = answer.results.flatMap(({ index, embedding }) =>
    embedding ? [{ index, vector: vectorOf(embedding.data), upload: uploads[index] }] : [],
  );
  if (rows.length < 2) {
    const text = `The image is now ${rows[0]?.vector.length ?? 0} numbers. Add another image to compare the two.`;
    return element("p", {}, text);
  }
  const heads = rows.map(({ upload, index }) => element("th", { scope: "col" }, thumbnail(upload, index)));
  const lines = rows.map((one) => {
    const cells = rows.map((other) => cell(one.index === other.index ? null : cosine(one.vector, other.vector)));
    return element("tr", {}, element("th", { scope: "row" }, thumbnail(one.upload, one.index)), ...cells);
  });
  return element(
    "div",
    { className: "scroll", tabIndex: 0, role: "group", "aria-label": "Similarity of the images" },
    element(
      "table",
      { className: "similarity" },
      element("caption", {}, "Cosine of the angle between the features: 1 is the same direction."),
      element("thead", {}, element("tr", {}, element("td"), ...heads)),
      element("tbody", {}, ...lines),
    ),
  );
}

/**
 * Return 32-bit floats, which are little-endian as on every platform that has a browser.
 * @param {string} text base64
 */
export function vectorOf(text) {
  return new Float32Array(bytesOf(text).buffer);
}

/**
 * Return the dot product of two vectors of length 1.
 * @param {Float32Array} one
 * @param {Float32Array} other
 */
export function cosine(one, other) {
  return one.reduce((sum, value, index) => sum + value * (other[index] ?? 0), 0);
}

/** @param {number | null} value */
function cell(value) {
  if (value === null) return element("td", { className: "quiet" }, "–");
  const fill = element("span", { className: "bar-fill" });
  fill.style.width = `${Math.max(0, value) * 100}%`;
  return element("td", {}, value.toFixed(3), element("span", { className: "bar", "aria-hidden": "true" }, fill));
}

/**
 * @param {import("../images.js").Upload | undefined} upload
 * @param {number} index
 */
function thumbnail(upload, index) {
  const name = `${index + 1}. ${upload?.file.name ?? ""}`;
  return element("img", { src: upload?.url ?? "", alt: name, title: name });
}
