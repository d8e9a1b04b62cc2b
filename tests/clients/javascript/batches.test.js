// Many images: in order, a bounded number at a time, each with its own error.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { map } from "../../../clients/javascript/src/batches.js";
import { NoAnswerError } from "../../../clients/javascript/src/problems.js";

function counted() {
  const counts = { running: 0, most: 0, taken: 0 };
  return {
    counts,
    *images(/** @type {number} */ count) {
      for (let image = 0; image < count; image++) {
        counts.taken++;
        yield image;
      }
    },
    async ask(/** @type {number} */ image) {
      counts.most = Math.max(counts.most, ++counts.running);
      await sleep(2 * (image % 3));
      counts.running--;
      if (image === 4) throw new NoAnswerError("refused");
      return image * 10;
    },
  };
}

test("answers come in order, and an error stays with its image", async () => {
  const { ask, counts, images } = counted();
  const outcomes = [];
  for await (const outcome of map(ask, images(9), { concurrency: 3 })) outcomes.push(outcome);

  assert.deepEqual(
    outcomes.map(({ answer }) => answer),
    [0, 10, 20, 30, undefined, 50, 60, 70, 80],
  );
  assert.deepEqual(
    outcomes.filter(({ error }) => error).map(({ image }) => image),
    [4],
  );
  assert.equal(counts.most, 3);
});

test("images are taken only when they are wanted", async () => {
  const { ask, counts, images } = counted();
  for await (const { image } of map(ask, images(1000), { concurrency: 3 })) {
    assert.equal(image, 0);
    break;
  }

  assert.ok(counts.taken <= 4);
});

test("a mistake in the program is not an outcome", async () => {
  const mistaken = () => Promise.reject(new TypeError("a mistake"));

  await assert.rejects(map(mistaken, [1, 2]).next(), TypeError);
});

test("at least one request is sent at a time", async () => {
  await assert.rejects(map(counted().ask, [1], { concurrency: 0 }).next(), RangeError);
});
