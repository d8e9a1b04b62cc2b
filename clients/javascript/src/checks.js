// What a program gives the client: the address of the service, the key, and the images.

const KEY = /^[!-~]*$/; // a header cannot have other characters
const OWN_PATH = /^(\.{0,2}\/(?!\/)|$)/; // of the origin of a page
const VERSION = /(^|[^/])\/v1$/; // at the end of a path, and no host of this name
/** @type {Record<keyof import("./client.js").Options, true>} */
const OPTIONS = { key: true, timeout_s: true, priority: true, retries: true, signal: true, fetch: true };
const IMAGES = new Set(["Blob", "File", "ArrayBuffer"]);

/**
 * Return the address of a service without slashes at its end. Throw a `TypeError` if it is none.
 *
 * On a page it may also be a path of the page's own origin, such as `/vision`, or empty.
 * @param {string | URL} url
 * @returns {string}
 */
export function serviceUrl(url) {
  const text = String(url);
  const isPath = globalThis.location !== undefined && OWN_PATH.test(text);
  if (!isPath && !isAddress(text)) {
    // Without the text: it may have a password.
    throw new TypeError(
      "the URL of a service has http:// or https:// and a host, and no user or query, such as http://127.0.0.1:8000",
    );
  }
  const trimmed = text.replace(/\/+$/, "");
  if (VERSION.test(trimmed)) throw new TypeError("the URL of a service ends before /v1, which the client adds");
  return trimmed;
}

/** @param {string} text */
function isAddress(text) {
  try {
    const { protocol, username, password, search, hash } = new URL(text);
    return /^https?:$/.test(protocol) && !(username || password || search || hash);
  } catch {
    return false;
  }
}

/**
 * Return the key without blanks and line ends around it. Throw a `TypeError` if no header can have it.
 * @param {string | undefined} key
 * @returns {string}
 */
export function usableKey(key = "") {
  const trimmed = key.trim();
  // `fetch` would write the key into the message of its error.
  if (!KEY.test(trimmed)) throw new TypeError("the key has a blank, a line end, or a character that is not ASCII");
  return trimmed;
}

/**
 * Throw a `TypeError` for what is no image. `fetch` would send a path as text, and a request without `undefined`.
 * @param {unknown} image
 */
export function checkImage(image) {
  const kind = Object.prototype.toString.call(image).slice(8, -1); // also of a Blob of another frame
  if (IMAGES.has(kind) || ArrayBuffer.isView(image)) return;
  throw new TypeError("an image is a File, a Blob, an ArrayBuffer or bytes. Read the file of a path first");
}

/**
 * Throw a `TypeError` for what is no name of a model. The answer of several models has other members.
 * @param {unknown} model
 */
export function checkModel(model) {
  if (model === undefined || model === null || typeof model === "string") return;
  throw new TypeError("`model` is the name of one model. compare(image, models) classifies with several");
}

/**
 * Throw a `TypeError` for an option that does not exist, which would have no effect.
 * @param {object | null | undefined} options
 */
export function checkOptions(options) {
  const name = Object.keys(options ?? {}).find((each) => !Object.hasOwn(OPTIONS, each));
  if (name === undefined) return;
  throw new TypeError(`there is no option ${name}. The options are ${Object.keys(OPTIONS).join(", ")}`);
}

/**
 * Throw a `TypeError` for an option of the client among the parameters of a request.
 * @param {URLSearchParams} query
 */
export function checkQuery(query) {
  for (const name of query.keys()) {
    if (Object.hasOwn(OPTIONS, name))
      throw new TypeError(`${name} is an option and no parameter: options of a call are its last argument`);
  }
}
