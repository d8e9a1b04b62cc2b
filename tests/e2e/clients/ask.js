// Calls a running service with every method of the client, and prints the answers.

import { readFile } from "node:fs/promises";

import { Client, map, ProblemError, toBlob, toVector } from "../../../clients/javascript/src/index.js";

const [, , url, name = ""] = process.argv;
const client = new Client(url, { timeout_s: 30 });
const photo = await readFile(name);

/** @param {Promise<unknown>} asked */
async function code(asked) {
  try {
    return await asked;
  } catch (error) {
    return error instanceof ProblemError ? error.code : String(error);
  }
}

const segmented = await client.segment(photo);
const embedded = await client.embed(new Blob([photo]), { normalise: true });
const outcomes = [];
for await (const { image, answer, error } of map(
  (bytes) => client.classify(bytes),
  [photo, Buffer.from("no image"), photo],
)) {
  outcomes.push([image.length, answer?.predictions.length ?? null, error instanceof ProblemError ? error.code : null]);
}

console.log(
  JSON.stringify({
    classified: await client.classify(photo, { top_k: 2 }),
    compared: await client.compare(photo, ["tiny-classifier", "tiny-classifier-b"], { top_k: 1 }),
    segmented,
    mask: segmented.mask?.format === "png" ? toBlob(segmented.mask).size : 0,
    detected: await client.detect(photo, { min_score: 0.06, max_detections: 5 }),
    length: Math.hypot(...toVector(embedded)),
    explained: await client.explain(photo, { classes: ["cat"], overlay: "false" }),
    models: await client.models(),
    model: await client.model("tiny-segmenter"),
    problem: await code(client.classify(photo, { model: "no-such" })),
    outcomes,
  }),
);
