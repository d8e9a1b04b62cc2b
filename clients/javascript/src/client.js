// Send images to the service, and return its answers.

import { errorOf, NoAnswerError } from "./problems.js";
import { Deadline, RetryPolicy } from "./retries.js";

const GRACE_S = 2; // after the deadline, for the service's own answer that it has passed
const NO_DEADLINE_S = 180; // published detectors have 120 s for an image on a CPU

/** @typedef {Blob | ArrayBuffer | ArrayBufferView<ArrayBuffer>} UploadedImage a `File`, bytes, or a `Buffer` of Node */
/**
 * @typedef {object} Options
 * @property {string} [key] API key or token
 * @property {number} [timeout_s] time for a call with all its attempts; the service gets what is left of it
 * @property {number} [priority] 0, the most urgent, to 7
 * @property {RetryPolicy} [retries]
 * @property {AbortSignal} [signal] cancels the call
 * @property {typeof fetch} [fetch] replaces the global one
 */
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
 * A client of the service at `url`. Its methods throw a `ProblemError` for a problem, and a `NoAnswerError` if there is no
 * answer. The last argument of each method replaces options for one call.
 */
export class Client {
  /**
   * @param {string | URL} [url]
   * @param {Options} [options]
   */
  constructor(url = "http://127.0.0.1:8000", options = {}) {
    this.url = String(url).replace(/\/+$/, "");
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
    return this.#ask("v1/classify", image, { ...parameters }, options);
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
    if (new Set(models).size < 2) throw new RangeError("a comparison needs two models or more");
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
    return this.#ask("v1/segment", image, { ...parameters }, options);
  }

  /**
   * Return the objects in an image: boxes, scores, and masks where the model has them.
   * @param {UploadedImage} image
   * @param {DetectParameters} [parameters]
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Detections>}
   */
  detect(image, parameters, options) {
    return this.#ask("v1/detect", image, { ...parameters }, options);
  }

  /**
   * Return the features of an image; `toVector` reads them.
   * @param {UploadedImage} image
   * @param {EmbedParameters} [parameters]
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Embedding>}
   */
  embed(image, parameters, options) {
    return this.#ask("v1/embed", image, { ...parameters, encoding: "base64" }, options);
  }

  /**
   * Return which parts of an image speak for classes.
   * @param {UploadedImage} image
   * @param {ExplainParameters} [parameters]
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Explanation>}
   */
  explain(image, parameters, options) {
    return this.#ask("v1/explain", image, { ...parameters }, options);
  }

  /**
   * Return the served models.
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").Model[]>}
   */
  async models(options) {
    return (await this.#send("v1/models", undefined, options)).models;
  }

  /**
   * Return a model with its labels and the limits on uploads.
   * @param {string} name
   * @param {Options} [options]
   * @returns {Promise<import("./results.js").ModelDetail>}
   */
  model(name, options) {
    return this.#send(`v1/models/${encodeURIComponent(name)}`, undefined, options);
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
    const {
      results: [result],
      ...document
    } = await this.#send(`${path}?${queryOf(parameters)}`, image, options);
    return { ...document, ...result };
  }

  /**
   * Send a request until it is answered, or until it is not to be repeated.
   * @param {string} path
   * @param {UploadedImage | undefined} image
   * @param {Options} [replaced]
   * @returns {Promise<any>}
   */
  async #send(path, image, replaced) {
    const options = { ...this.options, ...replaced };
    const retries = options.retries ?? new RetryPolicy();
    const deadline = new Deadline(options.timeout_s ?? null);
    for (let attempt = 1; ; attempt++) {
      try {
        return await exchange(`${this.url}/${path}`, image, options, deadline.leftS());
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
 * @returns {Promise<any>}
 */
async function exchange(url, image, options, leftS) {
  const { signal } = options;
  signal?.throwIfAborted();
  const controller = new AbortController();
  const cancel = () => controller.abort();
  signal?.addEventListener("abort", cancel);
  const timer = setTimeout(cancel, 1000 * (leftS === null ? NO_DEADLINE_S : leftS + GRACE_S));
  try {
    const response = await (options.fetch ?? fetch)(url, {
      ...(image ? { method: "POST", body: image } : {}),
      headers: headersOf(options, image !== undefined, leftS),
      signal: controller.signal,
    });
    const text = await response.text();
    if (response.status !== 200) throw errorOf(response, text);
    return JSON.parse(text);
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof TypeError) && !controller.signal.aborted) throw error;
    const is_late = controller.signal.aborted;
    throw new NoAnswerError(noAnswer(url, is_late ? "it took too long" : String(error), is_late), {
      is_late,
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
  }
}

/**
 * Return the message without an answer. A browser hides whether a service of another origin was reached.
 * @param {string} url
 * @param {string} why
 * @param {boolean} isLate
 * @returns {string}
 */
function noAnswer(url, why, isLate) {
  const page = globalThis.location;
  let asked;
  try {
    asked = new URL(url, page?.href);
  } catch {
    return `no answer of the service: ${why}`;
  }
  const isForeign = !isLate && page !== undefined && page.origin !== asked.origin;
  const origins = isForeign ? `, or it does not allow the origin ${page.origin} (RESNEST_CORS_ORIGINS)` : "";
  return `no answer of the service at ${asked.origin}: ${why}${origins}`;
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
  if (hasImage && leftS !== null) headers["Request-Timeout"] = leftS.toFixed(3);
  return headers;
}

/** @param {Record<string, unknown>} parameters */
function queryOf(parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined) query.append(name, String(each));
    }
  }
  return query;
}

/**
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", leave);
      resolve();
    }, 1000 * seconds);
    signal?.addEventListener("abort", leave, { once: true });
  });
}
