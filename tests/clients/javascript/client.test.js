// The client repeats what may pass, within its deadline, and throws the rest. A server on loopback answers.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import {
  Client,
  NoAnswerError,
  ProblemError,
  RequestError,
  RetryPolicy,
  ServiceError,
} from "../../../clients/javascript/src/index.js";

const ANSWER = { request_id: "r-1", model: { name: "m" }, results: [{ index: 0, predictions: [] }], timing_ms: {} };
const quick = new RetryPolicy({ backoff_s: 0.001 });

/** @typedef {{ url: string, headers: import("node:http").IncomingHttpHeaders, body: string }} Seen */

/**
 * Serve these answers one after the other while `use` runs. `null` leaves the request without an answer.
 * @param {({ status: number, code?: string, retryAfter?: string } | null)[]} answers
 * @param {(url: string, seen: Seen[]) => Promise<void>} use
 */
async function serving(answers, use) {
  /** @type {Seen[]} */
  const seen = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    seen.push({ url: request.url ?? "", headers: request.headers, body });
    const answer = answers[seen.length - 1];
    if (!answer) return;
    const { status, code, retryAfter } = answer;
    if (retryAfter) response.setHeader("Retry-After", retryAfter);
    const document = code ? { type: "", title: "X", status, detail: "Why.", code } : ANSWER;
    response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(document));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  try {
    await use(`http://127.0.0.1:${port}`, seen);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("an image is sent as bytes, with the parameters and the options that are given", async () => {
  await serving([{ status: 200 }], async (url, seen) => {
    const client = new Client(`${url}/`, { key: "rsn_x", timeout_s: 5, priority: 6 });
    const answer = await client.explain(new Blob(["image"]), {
      classes: ["cat", "2"],
      top_k: undefined,
      model: /** @type {any} */ (null),
    });

    assert.deepEqual(answer.model, { name: "m" });
    assert.equal(seen[0]?.url, "/v1/explain?classes=cat&classes=2");
    assert.equal(seen[0]?.body, "image");
    assert.equal(seen[0]?.headers.authorization, "Bearer rsn_x");
    assert.equal(seen[0]?.headers.priority, "u=6");
    assert.match(String(seen[0]?.headers["request-timeout"]), /^(5|4\.\d{3}|5\.000)$/);
  });
});

test("a failure that passes is not seen", async () => {
  const answers = [{ status: 503, code: "overloaded" }, { status: 500, code: "internal" }, { status: 200 }];
  await serving(answers, async (url, seen) => {
    await new Client(url, { retries: quick }).classify(new TextEncoder().encode("image"));

    assert.deepEqual(
      seen.map(({ body }) => body),
      ["image", "image", "image"],
    );
  });
});

test("the service is obeyed when it says when to return", async () => {
  await serving([{ status: 429, code: "rate_limited", retryAfter: "1" }, { status: 200 }], async (url) => {
    const started = performance.now();
    await new Client(url, { retries: quick }).classify(new Blob(["image"]));

    assert.ok(performance.now() - started >= 1000);
  });
});

test("a wrong request is thrown at once", async () => {
  await serving([{ status: 422, code: "image_corrupt" }], async (url) => {
    const asked = new Client(url).classify(new Blob(["image"]));
    await assert.rejects(asked, (error) => error instanceof RequestError && error.code === "image_corrupt");
  });
});

test("a wait beyond the deadline is not begun", async () => {
  await serving([{ status: 503, code: "overloaded", retryAfter: "5" }], async (url) => {
    const started = performance.now();
    await assert.rejects(new Client(url, { timeout_s: 2 }).classify(new Blob(["image"])), ServiceError);

    assert.ok(performance.now() - started < 1000);
  });
});

test("an answer that does not come is late, and is not asked for again", async () => {
  await serving([null], async (url, seen) => {
    const asked = new Client(url, { timeout_s: 0.01 }).models();

    await assert.rejects(asked, (error) => error instanceof NoAnswerError && error.is_late);
    assert.equal(seen.length, 1);
  });
});

test("no service is no answer", async () => {
  const client = new Client("http://127.0.0.1:1", { retries: new RetryPolicy({ attempts: 2, backoff_s: 0.001 }) });

  await assert.rejects(client.models(), (error) => error instanceof NoAnswerError && !error.is_late);
  await assert.rejects(client.models(), /no answer of the service at http:\/\/127\.0\.0\.1:1: TypeError/);
});

test("a refused connection is named, of one address and of several", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  server.close();
  await once(server, "close");

  for (const host of ["127.0.0.1", "localhost"]) {
    const client = new Client(`http://${host}:${port}`, { retries: new RetryPolicy({ attempts: 1 }) });
    await assert.rejects(client.models(), { name: "NoAnswerError", message: /fetch failed \(.*ECONNREFUSED/ });
  }
});

test("on a page of another origin, a missing answer names the setting that allows the origin", async () => {
  const refused = () => Promise.reject(new TypeError("Failed to fetch"));
  const client = new Client("http://a.example:8000", { fetch: refused, retries: new RetryPolicy({ attempts: 1 }) });
  const expected = "no answer of the service at http://a.example:8000: TypeError: Failed to fetch";
  const hint = ", or it does not allow the origin http://page.example (RESNEST_CORS_ORIGINS)";
  try {
    for (const [origin, more] of [
      ["http://page.example", hint],
      ["http://a.example:8000", ""],
    ]) {
      Object.defineProperty(globalThis, "location", { value: new URL(`${origin}/p`), configurable: true });
      await assert.rejects(client.models(), { message: expected + more });
    }
  } finally {
    Reflect.deleteProperty(globalThis, "location");
  }
});

test("a signal cancels the request, and the wait before the next one", async () => {
  for (const answer of [null, { status: 503, code: "overloaded", retryAfter: "20" }]) {
    await serving([answer], async (url) => {
      const controller = new AbortController();
      const asked = new Client(url).classify(new Blob(["image"]), {}, { signal: controller.signal });
      setTimeout(() => controller.abort(), 100);

      await assert.rejects(asked, { name: "AbortError" });
    });
  }
});

test("a comparison needs two models", async () => {
  const client = new Client();
  await assert.rejects(client.compare(new Blob(), ["a", "a"]), RangeError);
  await assert.rejects(client.compare(new Blob(), /** @type {any} */ ("starter-classifier")), RangeError);
});

test("a list of models is refused by each method, and nothing is sent", async () => {
  await serving([], async (url, seen) => {
    const client = new Client(url);
    const models = { model: /** @type {any} */ (["a", "b"]) };
    for (const method of /** @type {const} */ (["classify", "segment", "detect", "embed", "explain"])) {
      await assert.rejects(client[method](new Blob(["image"]), models), { name: "TypeError", message: /compare\(/ });
    }

    assert.deepEqual(seen, []);
  });
});

test("an option that does not exist, or among the parameters, is refused, and nothing is sent", async () => {
  await serving([], async (url, seen) => {
    const image = new Blob(["image"]);
    const client = new Client(url);
    const wrong = /** @type {any} */ ({ timeout: 5 });
    const misplaced = /** @type {any} */ ({ timeout_s: 5 });

    assert.throws(() => new Client(url, wrong), { name: "TypeError", message: /no option timeout\. .* timeout_s/ });
    for (const asked of [client.classify(image, {}, wrong), client.compare(image, ["a", "b"], {}, wrong)])
      await assert.rejects(asked, { name: "TypeError", message: /no option timeout\./ });
    await assert.rejects(client.models(wrong), { name: "TypeError", message: /no option timeout\./ });
    for (const asked of [client.embed(image, misplaced), client.compare(image, ["a", "b"], misplaced)])
      await assert.rejects(asked, { name: "TypeError", message: /timeout_s is an option/ });

    assert.deepEqual(seen, []);
  });
});

test("what is no image or no key is refused, and nothing is sent", async () => {
  await serving([], async (url, seen) => {
    await assert.rejects(new Client(url).classify(/** @type {any} */ (undefined)), { name: "TypeError" });
    await assert.rejects(new Client(url, { key: "rsn_x y" }).models(), { name: "TypeError", message: /the key has/ });

    assert.deepEqual(seen, []);
  });
});

test("a deadline that the service does not accept is not sent, and may be without end", async () => {
  await serving([{ status: 200 }, { status: 200 }, { status: 200 }], async (url, seen) => {
    for (const timeout_s of [60.5, 1e9, Number.POSITIVE_INFINITY]) {
      await new Client(url, { timeout_s }).classify(new Blob(["image"]));
    }

    assert.deepEqual(
      seen.map(({ headers }) => headers["request-timeout"]),
      [undefined, undefined, undefined],
    );
  });
});

test("the page of another program is an error that says so, and is not asked for again", async () => {
  for (const text of ["<html>Welcome</html>", "", "null", "[]", "5", "{}", '{"results": []}']) {
    let asked = 0;
    const answer = async () => {
      asked += 1;
      return new Response(text);
    };
    const client = new Client("http://a.example", { fetch: answer });
    for (const call of [client.classify(new Blob(["image"])), client.models(), client.model("a")]) {
      await assert.rejects(
        call,
        (error) => error instanceof RequestError && /check the URL/.test(error.message) && error.code === "http_200",
      );
    }
    assert.equal(asked, 3);
  }
});

test("a failure behind a redirection names where the service is", async () => {
  await serving([{ status: 405, code: "method_not_allowed" }], async (url) => {
    const moved = createServer((_, response) => response.writeHead(301, { Location: `${url}/v1/classify` }).end());
    moved.listen(0, "127.0.0.1");
    await once(moved, "listening");
    const { port } = /** @type {import("node:net").AddressInfo} */ (moved.address());
    try {
      const asked = new Client(`http://127.0.0.1:${port}`).classify(new Blob(["image"]));
      await assert.rejects(asked, {
        message: `405 http_405: The address redirects to ${url}/v1/classify. Name the URL of the service there.`,
      });
    } finally {
      moved.closeAllConnections();
      moved.close();
    }
  });
});

test("the name of a model is one part of the path", async () => {
  await serving([{ status: 404, code: "model_not_found" }], async (url, seen) => {
    await assert.rejects(new Client(url).model("../livez"), ProblemError);
    assert.equal(seen[0]?.url, "/v1/models/..%2Flivez");
  });
});
