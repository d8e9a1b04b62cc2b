// Errors: what the service answers in place of a result, and what happens if it does not answer.

const EXCERPT = 200; // characters of an answer that is no problem document
// Members that list what to use instead, each with its name in the message.
const CHOICES = /** @type {const} */ ({ available: "Available", accepted: "Accepted" });
const KEY_OPTION = "The client sends the key of its option `key`: new Client(url, { key: KEY }).";

/**
 * A problem document (RFC 9457). `code` never changes its meaning.
 * @typedef {object} Problem
 * @property {string} type
 * @property {string} title
 * @property {number} status
 * @property {string} detail
 * @property {string} code
 * @property {string} [request_id] absent inside a result
 * @property {number} [limit]
 * @property {number} [actual]
 * @property {string[]} [accepted]
 * @property {string[]} [available]
 * @property {string} [reason]
 * @property {{ parameter: string, detail: string }[]} [errors]
 */

/** A request without a result. Every error of this package about a request is one. */
export class ClientError extends Error {
  name = "ClientError";
}

/** The service gave no answer: it cannot be reached, or it did not answer in time (`is_late`). */
export class NoAnswerError extends ClientError {
  name = "NoAnswerError";

  /**
   * @param {string} message
   * @param {{ is_late?: boolean, cause?: unknown }} [facts]
   */
  constructor(message, { is_late = false, cause } = {}) {
    super(message, { cause });
    this.is_late = is_late;
  }
}

/** The service answered with a problem: branch on `code`. The message has its `detail` and the values to choose from. */
export class ProblemError extends ClientError {
  name = "ProblemError";

  /**
   * @param {Problem} problem
   * @param {number | null} [retry_after_s] seconds after which the service wants the request repeated
   */
  constructor(problem, retry_after_s = null) {
    super(`${problem.status} ${problem.code}: ${withChoices(problem)}`);
    this.problem = problem;
    this.code = problem.code;
    this.status = problem.status;
    this.retry_after_s = retry_after_s;
  }
}

/** The request is wrong (4xx): correct it before you repeat it. */
export class RequestError extends ProblemError {
  name = "RequestError";
}

/** The key is missing or invalid, or it does not open the path (401, 403). */
export class AccessError extends RequestError {
  name = "AccessError";
}

/** You sent more than your limits allow (429): send less, or later. */
export class LimitError extends ProblemError {
  name = "LimitError";
}

/** The service could not answer (408, 5xx): you may repeat the request. */
export class ServiceError extends ProblemError {
  name = "ServiceError";
}

/**
 * Return the error for a response of status 400 and above, and its text.
 * @param {Response} response
 * @param {string} text
 * @returns {ProblemError}
 */
export function errorOf(response, text) {
  const Class = classOf(response.status);
  return new Class(problemOf(response, text), secondsOf(response.headers.get("Retry-After") ?? ""));
}

/**
 * Return the error for a response of status 200 that is no answer of the service.
 * @param {Response} response
 * @param {string} text
 * @returns {ProblemError}
 */
export function foreignAnswer(response, text) {
  const detail = `This is no answer of resnest-service: check the URL. It begins: ${text.slice(0, EXCERPT)}`;
  return new RequestError(foreignProblem(response, detail));
}

/**
 * Return the error for a failed response of another address, to which a request was redirected. It may have lost its
 * image and its key on the way.
 * @param {Response} response
 * @returns {ProblemError}
 */
export function redirected(response) {
  const detail = `The address redirects to ${response.url}. Name the URL of the service there.`;
  return new RequestError(foreignProblem(response, detail));
}

/**
 * Return the error for a request to `url` without an answer. A browser hides whether a service of another origin was
 * reached.
 * @param {string} url
 * @param {unknown} error what `fetch` threw
 * @param {boolean} isLate
 * @returns {NoAnswerError}
 */
export function noAnswer(url, error, isLate) {
  const why = isLate ? "it took too long" : withCause(error);
  const page = globalThis.location;
  let place = "";
  let origins = "";
  try {
    const { origin } = new URL(url, page?.href);
    place = ` at ${origin}`;
    const isForeign = !isLate && page !== undefined && page.origin !== origin;
    if (isForeign) origins = `, or it does not allow the origin ${page.origin} (RESNEST_CORS_ORIGINS)`;
  } catch {
    // It is a path of a page without an address of its own.
  }
  return new NoAnswerError(`no answer of the service${place}: ${why}${origins}`, { is_late: isLate, cause: error });
}

/**
 * Return the text of an error, and why it happened. That of Node's `fetch` itself is always "fetch failed".
 * @param {unknown} error
 * @returns {string}
 */
function withCause(error) {
  const { cause } = /** @type {{ cause?: { message?: unknown, code?: unknown } }} */ (Object(error));
  const why = cause?.message || cause?.code; // of several addresses, `cause` has the code alone
  return why ? `${error} (${why})` : String(error);
}

/**
 * Return the seconds in a `Retry-After`: a number, or the date that some proxies send (RFC 9110, section 10.2.3).
 * @param {string} value
 * @returns {number | null}
 */
function secondsOf(value) {
  if (/^\d+$/.test(value)) return Number(value);
  const date = value.endsWith(" GMT") ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? null : Math.max(0, (date - Date.now()) / 1000);
}

/**
 * Return the detail, with the values to choose from, or with the option for the key if the request had none.
 * @param {Problem} problem
 * @returns {string}
 */
function withChoices(problem) {
  if (problem.status === 401 && problem.reason === "missing") return `${problem.detail} ${KEY_OPTION}`;
  let message = problem.detail;
  for (const name of /** @type {(keyof typeof CHOICES)[]} */ (Object.keys(CHOICES))) {
    const values = problem[name];
    if (Array.isArray(values)) message += ` ${CHOICES[name]}: ${values.join(", ") || "none"}.`;
  }
  return message;
}

/** @param {number} status */
function classOf(status) {
  if (status === 401 || status === 403) return AccessError;
  if (status === 429) return LimitError;
  return status === 408 || status >= 500 ? ServiceError : RequestError;
}

/**
 * @param {Response} response
 * @param {string} text
 * @returns {Problem}
 */
function problemOf(response, text) {
  try {
    const problem = JSON.parse(text);
    if (typeof problem.code === "string" && typeof problem.detail === "string")
      return { ...problem, status: response.status };
  } catch {
    // A proxy in front of the service answered.
  }
  return foreignProblem(response, text.slice(0, EXCERPT) || response.statusText);
}

/**
 * @param {Response} response
 * @param {string} detail
 * @returns {Problem}
 */
function foreignProblem({ status, statusText }, detail) {
  return { type: "about:blank", title: statusText, status, detail, code: `http_${status}` };
}
