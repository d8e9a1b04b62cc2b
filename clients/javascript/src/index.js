// Client of resnest-service, for browsers and Node.

/** @typedef {import("./client.js").Options} Options */
/** @typedef {import("./client.js").UploadedImage} UploadedImage */
/** @typedef {import("./results.js").Classification} Classification */
/** @typedef {import("./results.js").Comparison} Comparison */
/** @typedef {import("./results.js").Segmentation} Segmentation */
/** @typedef {import("./results.js").Detections} Detections */
/** @typedef {import("./results.js").Embedding} Embedding */
/** @typedef {import("./results.js").Explanation} Explanation */
/** @typedef {import("./results.js").Model} Model */
/** @typedef {import("./results.js").ModelDetail} ModelDetail */
/** @typedef {import("./results.js").EncodedImage} EncodedImage */
/** @typedef {import("./results.js").RunLengths} RunLengths */
/** @typedef {import("./results.js").Polygons} Polygons */
/** @typedef {import("./png.js").ClassMap} ClassMap */
/** @typedef {import("./problems.js").Problem} Problem */

export { map } from "./batches.js";
export { Client } from "./client.js";
export { NO_CLASS, toBlob, toClassIds, toPath, toPixels, toVector } from "./decode.js";
export {
  AccessError,
  ClientError,
  LimitError,
  NoAnswerError,
  ProblemError,
  RequestError,
  ServiceError,
} from "./problems.js";
export { RetryPolicy } from "./retries.js";
