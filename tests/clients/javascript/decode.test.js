// Files and vectors in answers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { toBlob, toVector } from "../../../clients/javascript/src/decode.js";

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
