// Many images, a bounded number of them at a time.

import { ClientError } from "./problems.js";

/**
 * Yield the outcome for each image, in order, with at most `concurrency` requests at a time.
 *
 * An outcome has the answer, or the error that the image failed with. An image is taken from `images` only when a request
 * may begin.
 * @template Item, Answer
 * @param {(image: Item) => Promise<Answer>} ask
 * @param {Iterable<Item> | AsyncIterable<Item>} images
 * @param {{ concurrency?: number }} [options]
 * @returns {AsyncGenerator<{ image: Item, answer: Answer, error?: undefined } |
 *   { image: Item, answer?: undefined, error: ClientError }, void, undefined>}
 */
export async function* map(ask, images, { concurrency = 8 } = {}) {
  if (!(concurrency >= 1)) throw new RangeError("concurrency is at least 1");
  /** @param {Item} image */
  const one = async (image) => {
    try {
      return { image, answer: await ask(image) };
    } catch (error) {
      if (error instanceof ClientError) return { image, error };
      throw error;
    }
  };
  /** @type {ReturnType<typeof one>[]} */
  const waiting = [];
  for await (const image of images) {
    if (waiting.length >= concurrency) {
      const first = waiting.shift();
      if (first) yield await first;
    }
    const outcome = one(image);
    outcome.catch(() => undefined); // it is awaited later, or no longer wanted
    waiting.push(outcome);
  }
  for (const outcome of waiting) yield await outcome;
}
