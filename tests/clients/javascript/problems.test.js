// The errors for answers that are no results.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as problems from "../../../clients/javascript/src/problems.js";

const { errorOf, noAnswer, ProblemError } = problems;

/**
 * @param {number} status
 * @param {Record<string, string>} [headers]
 */
function failed(status, headers = {}) {
  const text = JSON.stringify({ type: "/problems/x", title: "X", status, detail: "Why.", code: "x", limit: 3 });
  return errorOf(new Response(text, { status, headers }), text);
}

test("the status chooses the class", () => {
  const names = {
    400: "RequestError",
    401: "AccessError",
    403: "AccessError",
    408: "ServiceError",
    422: "RequestError",
  };
  const later = { 429: "LimitError", 500: "ServiceError", 503: "ServiceError" };

  for (const [status, name] of Object.entries({ ...names, ...later })) {
    const error = failed(Number(status));
    assert.equal(error.name, name);
    assert.equal(error.constructor.name, name);
    assert.ok(error instanceof ProblemError);
  }
});

test("the error says what happened, and has the whole problem", () => {
  const error = failed(429, { "Retry-After": "7" });

  assert.equal(error.message, "429 x: Why.");
  assert.equal(error.retry_after_s, 7);
  assert.equal(error.problem.limit, 3);
});

test("a request without a key is told the option for it", () => {
  for (const [reason, isNamed] of /** @type {[string, boolean][]} */ ([
    ["missing", true],
    ["invalid", false],
  ])) {
    const text = JSON.stringify({ status: 401, detail: "Why.", code: "unauthenticated", reason });
    const { message } = errorOf(new Response(text, { status: 401 }), text);
    assert.equal(message.includes("new Client(url, { key: KEY })"), isNamed);
  }
});

test("the message has the values to choose from", () => {
  /** @type {[object, string][]} */
  const cases = [
    [{ available: ["a", "b"] }, "404 x: Why. Available: a, b."],
    [{ available: [] }, "404 x: Why. Available: none."],
    [{ accepted: ["image/png"] }, "404 x: Why. Accepted: image/png."],
    [{ available: "a" }, "404 x: Why."],
  ];
  for (const [members, message] of cases) {
    const text = JSON.stringify({ type: "/problems/x", title: "X", detail: "Why.", code: "x", ...members });
    assert.equal(errorOf(new Response(text, { status: 404 }), text).message, message);
  }
});

test("a Retry-After may be a date as proxies send it", () => {
  const inSeconds = (/** @type {number} */ seconds) => new Date(Date.now() + 1000 * seconds).toUTCString();
  const { retry_after_s } = failed(503, { "Retry-After": inSeconds(20) });

  assert.ok(retry_after_s !== null && retry_after_s > 17 && retry_after_s <= 20);
  assert.equal(failed(503, { "Retry-After": inSeconds(-3600) }).retry_after_s, 0);
});

test("a Retry-After that is neither seconds nor a date is ignored", () => {
  for (const value of ["", "soon", "-1", "1.5", "Wed, 21 Oct 2026", "soon GMT"])
    assert.equal(failed(503, { "Retry-After": value }).retry_after_s, null);
});

test("an answer of a proxy becomes a problem with the status as its code", () => {
  for (const text of ["<html>Bad Gateway</html>", "", '{"error": 1}', "null"]) {
    const error = errorOf(new Response(text, { status: 502, statusText: "Bad Gateway" }), text);

    assert.equal(error.code, "http_502");
    assert.equal(error.status, 502);
    assert.ok(error.problem.detail);
  }
});

test("a missing answer says why, if the error of fetch has a cause", () => {
  /** @type {[unknown, string][]} */
  const cases = [
    [new Error("connect ECONNREFUSED 127.0.0.1:8000"), " (connect ECONNREFUSED 127.0.0.1:8000)"],
    [Object.assign(new AggregateError([]), { code: "ECONNREFUSED" }), " (ECONNREFUSED)"],
    [undefined, ""],
    [null, ""],
    ["", ""],
    [{}, ""],
  ];
  for (const [cause, more] of cases) {
    const error = noAnswer("http://127.0.0.1:8000/v1/models", new TypeError("fetch failed", { cause }), false);
    assert.equal(error.message, `no answer of the service at http://127.0.0.1:8000: TypeError: fetch failed${more}`);
  }
});

test("a late answer is late, whatever fetch threw", () => {
  const error = noAnswer("http://a.example/v1/models", new DOMException("Aborted", "AbortError"), true);

  assert.equal(error.message, "no answer of the service at http://a.example: it took too long");
  assert.ok(error.is_late);
});
