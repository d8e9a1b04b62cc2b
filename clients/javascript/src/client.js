// Send images to the service, and return its answers.

import { checkImage, checkModel, checkOptions, checkQuery, serviceUrl, usableKey } from "./checks.js";
import { errorOf, foreignAnswer, noAnswer, redirected } from "./problems.js";
import { Deadline, pause, RetryPolicy } from "./retries.js";

const GRACE_S = 2; // after the deadline, for the service's own answer that it has passed
const NO_DEADLINE_S = 180; // published detectors have 120 s for an image on a CPU
const MAX_REQUEST_TIMEOUT_S = 60; // the longest deadline that a service accepts, unless its operator sets another
const LONGEST_TIMER_MS = 2 ** 31 - 1; // a longer one ends at once

/** @typedef {Blob | ArrayBuffer | ArrayBufferView<ArrayBuffer>} UploadedImage a `File`, bytes, or a `Buffer` of Node */
/**
 * @typedef {object} Options
 * @property {string} [key] API key or token
 * @property {number} [timeout_s] time for a call with all its attempts; the service gets what is left of it, if that is
 *   at most 60 s
 * @property {number} [priority] 0, the most urgent, to 7
 * @property {RetryPolicy} [retries]
 * @property {AbortSignal} [signal] cancels the call
 * @property {typeof fetch} [fetch] replaces the global one
 */
/** @typedef {(document: any) => any} Pick takes the answer out of a document; none if it is no answer */
/** @typedef {{ model?: string, lang?: string }} CommonParameters */
/** @typedef {"false" | "png" | "webp"} Overlay */
/**
 * @typedef {CommonParameters & { top_k?: number, min_score?: number, unknown?: "keep" | "hide" }} ClassifyParameters
 */
/** @typedef {Omit<ClassifyParameters, "model">} CompareParameters */
/**
 * @typedef {CommonParameters & { mask?: "png" | "rle" | "polygons" | "none", overlay?: Overlay,
 *   quality?: "fast" | "best", confidence?: boolean, classes?: string[], tolerance?: number }} SegmentParameters
 */
/**
 * @typedef {CommonParameters & { min_score?: number, max_detections?: number, classes?: string[],
 *   mask?: "rle" | "polygons" | "none", tolerance?: number, overlay?: Overlay }} DetectParameters
 */
/** @typedef {{ model?: string, normalise?: boolean }} EmbedParameters */
/** @typedef {CommonParameters & { classes?: string[], top_k?: number, overlay?: Overlay }} ExplainParameters */

/**
 * A client of the service at `url`, or on a page, at a path of its own origin. Its methods throw a `ProblemError` for a
 * problem, and a `NoAnswerError` if there is no answer. The last argument of each method replaces options for one call.
 */
export class Client {
  /**
   * @param {string | URL} [url]
   * @param {Options} [options]
   */
  constructor(url = "http://127.0.0.1:8000", options = {}) {
    checkOptions(options);
    this.url = serviceUrl(url);
    this.options = options;
  }

  /**
   * Return the best classes of an image.
   * @param {UploadedImage} image
   * @param {ClassifyParameters} [parameters]
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Classification>}
   */
  classify(image, parameters, options) {
    return this.#askOne("v1/classify", image, { ...parameters }, options);
  }

  /**
   * Return the best classes of an image by each of two or more models.
   * @param {UploadedImage} image
   * @param {string[]} models
   * @param {CompareParameters} [parameters]
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Comparison>}
   */
  async compare(image, models, parameters, options) {
    if (typeof models === "string" || new Set(models).size < 2)
      throw new RangeError("a comparison needs two models or more");
    return this.#ask("v1/classify", image, { ...parameters, model: models }, options);
  }

  /**
   * Return the class of each pixel: the mask, and area, box and score of each class.
   * @param {UploadedImage} image
   * @param {SegmentParameters} [parameters]
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Segmentation>}
   */
  segment(image, parameters, options) {
    return this.#askOne("v1/segment", image, { ...parameters }, options);
  }

  /**
   * Return the objects in an image: boxes, scores, and masks where the model has them.
   * @param {UploadedImage} image
   * @param {DetectParameters} [parameters]
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Detections>}
   */
  detect(image, parameters, options) {
    return this.#askOne("v1/detect", image, { ...parameters }, options);
  }

  /**
   * Return the features of an image; `toVector` reads them.
   * @param {UploadedImage} image
   * @param {EmbedParameters} [parameters]
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Embedding>}
   */
  embed(image, parameters, options) {
    return this.#askOne("v1/embed", image, { ...parameters, encoding: "base64" }, options);
  }

  /**
   * Return which parts of an image speak for classes.
   * @param {UploadedImage} image
   * @param {ExplainParameters} [parameters]
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Explanation>}
   */
  explain(image, parameters, options) {
    return this.#askOne("v1/explain", image, { ...parameters }, options);
  }

  /**
   * Return the served models.
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Model[]>}
   */
  models(options) {
    return this.#send("v1/models", undefined, options, ({ models }) => models);
  }

  /**
   * Return a model with its labels and the limits on uploads.
   * @param {string} name
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").ModelDetail>}
   */
  model(name, options) {
    return this.#send(`v1/models/${encodeURIComponent(name)}`, undefined, options, (model) => model.name && model);
  }

  /**
   * Return the answer of one model about one image.
   * @param {string} path
   * @param {UploadedImage} image
   * @param {Record<string, unknown>} parameters
   * @param {Options} [options]
   * @returns {Promise<any>}
   */
  async #askOne(path, image, parameters, options) {
    checkModel(parameters.model);
    return this.#ask(path, image, parameters, options);
  }

  /**
   * Return the answer about one image. A failed one is no answer but a problem.
   * @param {string} path
   * @param {UploadedImage} image
   * @param {Record<string, unknown>} parameters
   * @param {Options} [options]
   * @returns {Promise<any>}
   */
  async #ask(path, image, parameters, options) {
    checkImage(image);
    const merged = /** @type {Pick} */ (({ results: [result], ...document }) => result && { ...document, ...result });
    const query = queryOf(parameters);
    checkQuery(query);
    return this.#send(`${path}?${query}`, image, options, merged);
  }

  /**
   * Send a request until it is answered, or until it is not to be repeated.
   * @param {string} path
   * @param {UploadedImage | undefined} image
   * @param {Options | undefined} replaced
   * @param {Pick} pick
   * @returns {Promise<any>}
   */
  async #send(path, image, replaced, pick) {
    checkOptions(replaced);
    const options = { ...this.options, ...replaced };
    options.key = usableKey(options.key);
    const retries = options.retries ?? new RetryPolicy();
    const deadline = new Deadline(options.timeout_s ?? null);
    for (let attempt = 1; ; attempt++) {
      try {
        return await exchange(`${this.url}/${path}`, image, options, deadline.leftS(), pick);
      } catch (error) {
        const waitS = retries.waitS(attempt, error);
        if (waitS === null || !deadline.allows(waitS)) throw error;
        await pause(waitS, options.signal);
      }
    }
  }
}

/**
 * @param {string} url
 * @param {UploadedImage | undefined} image
 * @param {Options} options
 * @param {number | null} leftS seconds
 * @param {Pick} pick
 * @returns {Promise<any>}
 */
async function exchange(url, image, options, leftS, pick) {
  const { signal } = options;
  signal?.throwIfAborted();
  const controller = new AbortController();
  const cancel = () => controller.abort();
  signal?.addEventListener("abort", cancel);
  const answerMs = 1000 * (leftS === null ? NO_DEADLINE_S : leftS + GRACE_S);
  const timer = setTimeout(cancel, Math.min(answerMs, LONGEST_TIMER_MS));
  try {
    const response = await (options.fetch ?? fetch)(url, {
      ...(image ? { method: "POST", body: image } : {}),
      headers: headersOf(options, image !== undefined, leftS),
      signal: controller.signal,
    });
    const text = await response.text();
    if (response.status !== 200) throw response.redirected ? redirected(response) : errorOf(response, text);
    return read(response, text, pick);
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof TypeError) && !controller.signal.aborted) throw error;
    throw noAnswer(url, error, controller.signal.aborted);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
  }
}

/**
 * Return the answer in a response. Throw a `ProblemError` if another program answered at this address.
 * @param {Response} response
 * @param {string} text
 * @param {Pick} pick
 */
function read(response, text, pick) {
  let answer;
  try {
    answer = pick(JSON.parse(text));
  } catch {
    // It is no JSON, or it has other members.
  }
  if (!answer) throw foreignAnswer(response, text);
  return answer;
}

/**
 * @param {Options} options
 * @param {boolean} hasImage
 * @param {number | null} leftS
 */
function headersOf({ key, priority }, hasImage, leftS) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (hasImage) headers["Content-Type"] = "application/octet-stream"; // the service reads the type from the bytes
  if (key) headers.Authorization = `Bearer ${key}`;
  if (priority !== undefined) headers.Priority = `u=${priority}`;
  if (hasImage && leftS !== null && leftS <= MAX_REQUEST_TIMEOUT_S) headers["Request-Timeout"] = leftS.toFixed(3);
  return headers;
}

/** @param {Record<string, unknown>} parameters */
function queryOf(parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== null) query.append(name, String(each));
    }
  }
  return query;
}
