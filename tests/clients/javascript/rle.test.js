// Reader of COCO's run lengths; tests/e2e/playground/test_decoders.py compares it with pycocotools in a browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeRuns } from "../../../clients/javascript/src/rle.js";

test("runs go down the columns, and the mask is returned row by row", () => {
  assert.deepEqual([...decodeRuns({ size: [2, 3], counts: "132" })], [0, 1, 0, 1, 1, 0]);
});

test("runs that do not fill the mask are refused", () => {
  assert.throws(() => decodeRuns({ size: [2, 3], counts: "13" }), RangeError);
  assert.throws(() => decodeRuns({ size: [2, 3], counts: "o" }), /cut off/);
});
