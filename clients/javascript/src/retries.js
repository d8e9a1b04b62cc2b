// When to repeat a request, and when to give up.

import { NoAnswerError, ProblemError } from "./problems.js";

const REPEATED = new Set([408, 429, 500, 502, 503, 504]);
const LASTING = new Set(["model_refused"]); // no repetition helps before an operator repairs the model

/**
 * How often a request is sent, and how long to wait in between.
 *
 * To repeat a request is safe: it only reads, and the service keeps nothing. It is sent at most `attempts` times. The
 * wait is what `Retry-After` says, plus a random part of the backoff, so that callers that were rejected together do not
 * return together. The backoff is `backoff_s` seconds, doubled with each attempt, up to `max_backoff_s`. A `Retry-After`
 * of more than `max_wait_s` seconds ends the attempts. `jitter` returns a number between 0 and its argument.
 */
export class RetryPolicy {
  /**
   * @param {{ attempts?: number, backoff_s?: number, max_backoff_s?: number, max_wait_s?: number,
   *   jitter?: (limit: number) => number }} [values]
   */
  constructor(values = {}) {
    this.attempts = values.attempts ?? 4;
    this.backoff_s = values.backoff_s ?? 0.25;
    this.max_backoff_s = values.max_backoff_s ?? 8;
    this.max_wait_s = values.max_wait_s ?? 30;
    this.jitter = values.jitter ?? ((limit) => Math.random() * limit);
  }

  /**
   * Return the seconds to wait after a failed attempt, or null if the request is not to be repeated.
   * @param {number} attempt from 1
   * @param {unknown} error
   * @returns {number | null}
   */
  waitS(attempt, error) {
    if (attempt >= this.attempts || !mayPass(error)) return null;
    const asked = error instanceof ProblemError ? (error.retry_after_s ?? 0) : 0;
    if (asked > this.max_wait_s) return null;
    return asked + this.jitter(Math.min(this.backoff_s * 2 ** (attempt - 1), this.max_backoff_s));
  }
}

/** The time until which a call must be answered, all its attempts together; none if `timeoutS` is null. */
export class Deadline {
  /**
   * @param {number | null} timeoutS
   * @param {() => number} [now] in milliseconds
   */
  constructor(timeoutS, now = () => performance.now()) {
    this.now = now;
    this.end = timeoutS === null ? null : now() + timeoutS * 1000;
  }

  /** Return the seconds that are left, at least a millisecond. Null without a deadline. */
  leftS() {
    return this.end === null ? null : Math.max((this.end - this.now()) / 1000, 0.001);
  }

  /**
   * Return whether time is left after a wait of so many seconds.
   * @param {number} waitS
   */
  allows(waitS) {
    return this.end === null || this.now() + waitS * 1000 < this.end;
  }
}

/**
 * Wait. Reject with the signal's reason if it aborts meanwhile.
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
export function pause(seconds, signal) {
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

/** @param {unknown} error */
function mayPass(error) {
  if (error instanceof ProblemError) return REPEATED.has(error.status) && !LASTING.has(error.code);
  return error instanceof NoAnswerError && !error.is_late;
}
