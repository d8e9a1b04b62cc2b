// Files and vectors in answers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NO_CLASS, toBlob, toClassIds, toPath, toPixels, toVector } from "../../../clients/javascript/src/decode.js";

test("a mask becomes a file of its type", async () => {
  const blob = toBlob({ format: "png", encoding: "base64", width: 1, height: 1, data: "iVBORw==" });

  assert.equal(blob.type, "image/png");
  assert.deepEqual([...new Uint8Array(await blob.arrayBuffer())], [0x89, 0x50, 0x4e, 0x47]);
});

test("a vector has the numbers that were sent", () => {
  /** @type {any} */
  const answer = { embedding: { encoding: "base64", dimensions: 3, data: "AAAAPwAAEMAAAEBA" } };

  assert.deepEqual([...toVector(answer)], [0.5, -2.25, 3]);
});

test("run lengths of several classes become class ids", async () => {
  const masks = [
    { class_id: 3, size: /** @type {[number, number]} */ ([2, 3]), counts: "132" },
    { class_id: 7, size: /** @type {[number, number]} */ ([2, 3]), counts: "51" },
  ];
  const { width, height, ids } = await toClassIds({ format: "rle", width: 3, height: 2, masks });

  assert.deepEqual([width, height, [...ids]], [3, 2, [NO_CLASS, 3, NO_CLASS, 3, 3, 7]]);
});

test("the pixels of a detection are ones and zeros", () => {
  assert.deepEqual([...toPixels({ size: [2, 3], counts: "132" })], [0, 1, 0, 1, 1, 0]);
});

test("polygons with a hole become one path", () => {
  /** @type {[number, number][]} */
  const outer = [[0, 0], [9, 0], [9, 9], [0, 0]]; // biome-ignore format: points
  /** @type {[number, number][]} */
  const hole = [[6, 3], [8, 3], [8, 5], [6, 3]]; // biome-ignore format: points

  assert.equal(toPath({ type: "MultiPolygon", coordinates: [[outer, hole]] }), "M0 0L9 0L9 9L0 0ZM6 3L8 3L8 5L6 3Z");
});
