// Talk to the service that served this page. All addresses are relative, so that a path prefix of a proxy is kept.

/** @typedef {{ name: string, version: string, task: string }} ModelName */
/** @typedef {ModelName & { summary: string, state: string, default: boolean, classes: number }} Model */
/** @typedef {{ label: string, class_id: number, score: number }} Prediction */
/** @typedef {{ format: string, encoding: "base64", width: number, height: number, data: string }} EncodedImage */
/** @typedef {{ size: [number, number], counts: string }} Runs as COCO writes them: height and width, run lengths */
/** @typedef {{ type: string, coordinates: number[][][][] }} MultiPolygon rings of points x, y */
/**
 * @typedef {Prediction & { bbox: [number, number, number, number], color: string,
 *   mask?: Runs | MultiPolygon | null }} Detection the box is x, y, width, height in pixels
 */
/** @typedef {Prediction & { color: string, pixels: number, share: number }} Segment */
/** @typedef {Prediction & { map: number[][] }} Explanation */
/**
 * @typedef {{ type: string, title: string, status: number, detail: string, code: string, request_id?: string,
 *   limit?: number, actual?: number, accepted?: string[], available?: string[],
 *   errors?: { parameter: string, detail: string }[] }} Problem
 */
/**
 * @typedef {object} Result one image of an answer
 * @property {number} index
 * @property {Problem} [error]
 * @property {{ width: number, height: number, format: string, mode: string }} [image]
 * @property {Prediction[]} [predictions]
 * @property {{ model: ModelName, predictions?: Prediction[], error?: Problem }[]} [models]
 * @property {EncodedImage} [mask]
 * @property {Segment[]} [segments]
 * @property {Detection[]} [detections]
 * @property {[number, number, number, number]} [seen]
 * @property {Explanation[]} [explanations]
 * @property {{ encoding: "base64", dimensions: number, data: string }} [embedding]
 * @property {string[]} [warnings]
 */
/** @typedef {{ request_id: string, model?: ModelName, models?: ModelName[], results: Result[] }} Answer */
/** @typedef {{ name: string, ms: number }} Stage */
/**
 * @typedef {object} Outcome of a request: the answer, or else the problem
 * @property {Answer | null} answer
 * @property {Problem | null} problem
 * @property {Stage[]} stages as the service measured them
 * @property {number} roundTripMs as this browser measured it
 */
/** @typedef {{ path: string, query: URLSearchParams, files: File[] }} Question */

const KEY = "resnest-service key";
let heldKey = ""; // where the browser stores nothing for pages

/** Return the API key or token that the user gave in this tab, or an empty string. */
export function storedKey() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return heldKey;
  }
}

/**
 * Keep the key until the tab is closed.
 * @param {string} key
 */
export function storeKey(key) {
  heldKey = key;
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // It is kept until the page is left.
  }
}

/**
 * Return the address of a path of the service, with the query.
 * @param {string} path without a leading slash
 * @param {URLSearchParams} [query]
 * @returns {string}
 */
export function addressOf(path, query) {
  const url = new URL(path, document.baseURI);
  url.search = query?.toString() ?? "";
  return url.href;
}

/**
 * Return the served models. Throw the service's problem, or one of this page if there is no answer.
 * @returns {Promise<Model[]>}
 */
export async function fetchModels() {
  const { body, problem } = await exchange("v1/models", { headers: authorization() });
  if (problem) throw problem;
  return body.models;
}

/**
 * Send the images as a form, and return what came back. Throw only if `signal` aborted the request.
 * @param {Question} question
 * @param {AbortSignal} signal
 * @returns {Promise<Outcome>}
 */
export async function ask(question, signal) {
  const form = new FormData();
  for (const file of question.files) form.append("file", file, file.name);
  const started = performance.now();
  const address = addressOf(question.path, question.query);
  const { body, problem, headers } = await exchange(address, {
    method: "POST",
    headers: { Accept: "application/json", ...authorization() },
    body: form,
    signal,
  });
  return {
    answer: problem ? null : body,
    problem,
    stages: stagesOf(headers?.get("Server-Timing") ?? ""),
    roundTripMs: performance.now() - started,
  };
}

/**
 * Return the stages of a `Server-Timing` header that have a duration.
 * @param {string} header
 * @returns {Stage[]}
 */
export function stagesOf(header) {
  return [...header.matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name = "", ms = ""]) => ({ name, ms: Number(ms) }));
}

/**
 * Return the bytes of base64 text.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** @returns {Record<string, string>} */
function authorization() {
  const key = storedKey();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/**
 * @param {string} address
 * @param {RequestInit} options
 * @returns {Promise<{ body: any, problem: Problem | null, headers: Headers | null }>}
 */
async function exchange(address, options) {
  try {
    const response = await fetch(address, { ...options, cache: "no-store", credentials: "same-origin" });
    const body = parsed(await response.text());
    return { body, problem: problemOf(response, body), headers: response.headers };
  } catch (error) {
    if (options.signal?.aborted) throw error;
    return { body: null, problem: noAnswer(String(error)), headers: null };
  }
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Return the problem of a response, one of this page if the service did not write it; null for an answer.
 * @param {Response} response
 * @param {any} body
 * @returns {Problem | null}
 */
function problemOf({ ok, status }, body) {
  if (ok && Array.isArray(body?.models ?? body?.results)) return null;
  if (!ok && typeof body?.code === "string" && typeof body.detail === "string") return { type: "", ...body };
  const detail = `The status is ${status}, and this service did not write the answer. A proxy in front of it may have.`;
  return { type: "", title: "Another program answered", status, detail, code: `http_${status}` };
}

/**
 * @param {string} cause
 * @returns {Problem}
 */
function noAnswer(cause) {
  const detail = `The browser received no answer of the service (${cause}). Check that it runs, then try again.`;
  return { type: "", title: "No answer", status: 0, detail, code: "no_answer" };
}
