// When a request is repeated, and how long the client waits.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NoAnswerError, ProblemError } from "../../../clients/javascript/src/problems.js";
import { Deadline, RetryPolicy } from "../../../clients/javascript/src/retries.js";

const full = { jitter: (/** @type {number} */ limit) => limit };

/**
 * @param {number} status
 * @param {string} [code]
 * @param {number | null} [retryAfterS]
 */
function problem(status, code = "some_code", retryAfterS = null) {
  return new ProblemError({ type: "", title: "", status, detail: "Why.", code }, retryAfterS);
}

test("a failure that may pass is repeated, and a wrong request is not", () => {
  const policy = new RetryPolicy(full);

  for (const status of [408, 429, 500, 502, 503, 504]) assert.equal(policy.waitS(1, problem(status)), 0.25);
  for (const status of [400, 401, 403, 404, 413, 422]) assert.equal(policy.waitS(1, problem(status)), null);
  assert.equal(policy.waitS(1, problem(503, "model_refused")), null);
});

test("a broken connection is repeated, and a late answer is not", () => {
  const policy = new RetryPolicy(full);

  assert.equal(policy.waitS(1, new NoAnswerError("refused")), 0.25);
  assert.equal(policy.waitS(1, new NoAnswerError("late", { is_late: true })), null);
  assert.equal(policy.waitS(1, new TypeError("a mistake")), null);
});

test("the backoff doubles up to its bound", () => {
  const policy = new RetryPolicy({ attempts: 9, backoff_s: 1, max_backoff_s: 5, ...full });

  const waits = [1, 2, 3, 4, 5].map((attempt) => policy.waitS(attempt, problem(503)));
  assert.deepEqual(waits, [1, 2, 4, 5, 5]);
});

test("the wait is at least what the service asks for", () => {
  assert.equal(new RetryPolicy({ jitter: () => 0 }).waitS(1, problem(503, "overloaded", 3)), 3);
  assert.equal(new RetryPolicy(full).waitS(2, problem(503, "overloaded", 3)), 3.5);
  assert.equal(new RetryPolicy(full).waitS(1, problem(503, "overloaded", 31)), null);
});

test("callers that were rejected together do not return together", () => {
  const waits = Array.from({ length: 20 }, () => new RetryPolicy().waitS(3, problem(503, "overloaded", 1)));

  assert.ok(new Set(waits).size > 15);
  assert.ok(waits.every((wait) => wait !== null && wait >= 1 && wait <= 2));
});

test("there are at most so many attempts", () => {
  assert.equal(new RetryPolicy(full).waitS(4, problem(503)), null);
  assert.equal(new RetryPolicy({ attempts: 1 }).waitS(1, problem(503)), null);
});

test("a deadline is for all attempts together", () => {
  let now = 5000;
  const deadline = new Deadline(2, () => now);
  now += 1500;

  assert.equal(deadline.leftS(), 0.5);
  assert.ok(deadline.allows(0.4));
  assert.ok(!deadline.allows(0.5));
  now += 9000;
  assert.equal(deadline.leftS(), 0.001);
  assert.equal(new Deadline(null).leftS(), null);
  assert.ok(new Deadline(null).allows(1e9));
});
