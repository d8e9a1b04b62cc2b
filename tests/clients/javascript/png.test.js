// Reader of indexed PNGs; tests/e2e/playground/test_decoders.py compares it with Pillow in a browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeIndexedPng } from "../../../clients/javascript/src/png.js";

// Two bits a pixel, a palette of three colours, 3 x 2 pixels, written by hand.
const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACAgMAAADgGo6JAAAACVBMVEUAAADmGUtDY9jWn2qLAAAADElEQVR4nGOQYJgAAADcAKls58AjAAAAAElFTkSuQmCC";

test("the palette's indices are read row by row", async () => {
  const { width, height, ids } = await decodeIndexedPng(Uint8Array.from(Buffer.from(PNG, "base64")));

  assert.deepEqual([width, height, [...ids]], [3, 2, [0, 1, 2, 2, 1, 0]]);
});

test("another file is refused", async () => {
  await assert.rejects(decodeIndexedPng(new Uint8Array(40)), /no PNG/);
});
