// What is refused before anything is sent, without a key or a password in the message.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  checkImage,
  checkModel,
  checkOptions,
  checkQuery,
  serviceUrl,
  usableKey,
} from "../../../clients/javascript/src/checks.js";

/** @param {() => void} use */
function onPage(use) {
  Object.defineProperty(globalThis, "location", { value: new URL("http://page.example/p"), configurable: true });
  try {
    use();
  } finally {
    Reflect.deleteProperty(globalThis, "location");
  }
}

test("a URL of a service is one of HTTP, with or without a path prefix", () => {
  assert.equal(serviceUrl("http://127.0.0.1:8000/"), "http://127.0.0.1:8000");
  assert.equal(serviceUrl(new URL("https://a.example/vision/")), "https://a.example/vision");
});

test("anything else is refused, and a password is not repeated", () => {
  const wrong = ["127.0.0.1:8000", "localhost:8000", "a.example", "", "/vision", "ftp://a.example", "http://a:port"];
  for (const url of [...wrong, "http://ann:pr1vate@a.example", "http://a.example/?top_k=3", "http://a.example/#x"]) {
    assert.throws(
      () => serviceUrl(url),
      (error) =>
        error instanceof TypeError && /http:\/\/ or https/.test(error.message) && !/pr1vate/.test(error.message),
    );
  }
});

test("a page may name a path of its own origin, and no address without http://", () => {
  onPage(() => {
    assert.equal(serviceUrl("/vision/"), "/vision");
    assert.equal(serviceUrl(""), "");
    for (const url of ["127.0.0.1:8000", "//a.example", "vision"]) assert.throws(() => serviceUrl(url), TypeError);
  });
});

test("a URL ends before the version, which the client adds", () => {
  const wrong = ["http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/", "https://a.example/vision/v1//"];
  for (const url of wrong) assert.throws(() => serviceUrl(url), { name: "TypeError", message: /ends before \/v1/ });
  onPage(() => assert.throws(() => serviceUrl("/v1/"), { message: /ends before \/v1/ }));

  for (const url of ["http://v1", "http://a.example/v10", "http://a.example/v1/vision"])
    assert.equal(serviceUrl(`${url}/`), url);
});

test("line ends around a key are removed, and a key that no header can have is not repeated", () => {
  assert.equal(usableKey(" rsn_x\n"), "rsn_x");
  assert.equal(usableKey(undefined), "");
  for (const key of ["rsn_x\nrsn_y", "rsn_x y", "rsn_…", "rsn_é"]) {
    assert.throws(
      () => usableKey(key),
      (error) => error instanceof TypeError && !error.message.includes(key),
    );
  }
});

test("an image has bytes", () => {
  const bytes = new Uint8Array([1, 2]);
  for (const image of [new Blob([bytes]), bytes, bytes.buffer, Buffer.from(bytes), new DataView(bytes.buffer)]) {
    checkImage(image);
  }
  for (const other of [undefined, null, "photo.jpg", new URL("file:///photo.jpg"), [1, 2], {}, new ReadableStream()]) {
    assert.throws(() => checkImage(other), TypeError);
  }
});

test("a model is one name", () => {
  for (const model of [undefined, null, "starter-classifier", "starter-classifier@1.0"]) checkModel(model);
  for (const model of [["a", "b"], ["a"], [], new Set(["a"]), {}]) {
    assert.throws(() => checkModel(model), { name: "TypeError", message: /one model\. compare\(image, models\)/ });
  }
});

test("an option that does not exist is refused by its name, with the list of those that do", () => {
  const all = { key: "rsn_x", timeout_s: 5, priority: 6, retries: {}, signal: undefined, fetch };
  for (const options of [undefined, null, {}, all]) checkOptions(options);
  for (const name of ["timeout", "apiKey", "Key", "top_k", "constructor"]) {
    const message = `there is no option ${name}. The options are ${Object.keys(all).join(", ")}`;
    assert.throws(() => checkOptions({ key: "rsn_x", [name]: 5 }), { name: "TypeError", message });
  }
});

test("an option among the parameters is told where it belongs", () => {
  for (const query of ["", "top_k=3&model=a&lang=de", "toString=1"]) checkQuery(new URLSearchParams(query));
  for (const name of ["key", "timeout_s", "priority", "retries", "signal", "fetch"]) {
    const message = `${name} is an option and no parameter: options of a call are its last argument`;
    assert.throws(() => checkQuery(new URLSearchParams({ top_k: "3", [name]: "5" })), { name: "TypeError", message });
  }
});
