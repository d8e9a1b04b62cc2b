// The answers as types. Members that this version does not know are there too.

/** @typedef {{ name: string, version: string, task: string }} ModelName */
/** @typedef {{ label: string, class_id: number, wnid?: string }} ClassLabel */
/** @typedef {ClassLabel & { score: number }} Prediction a score is 0 to 1 */
/** @typedef {[x: number, y: number, width: number, height: number]} Box in pixels of the upright image */

/**
 * What every answer about one image has.
 * @typedef {object} Answer
 * @property {string} request_id
 * @property {{ width: number, height: number, format: string, mode: string }} image the upright image, in pixels
 * @property {string[]} warnings
 * @property {{ total: number, decode: number, queue: number, inference: number }} timing_ms
 */

/**
 * A mask, an overlay or a confidence map; `data` is base64. The values of a mask's PNG are class ids.
 * @typedef {{ format: "png" | "webp", encoding: "base64", width: number, height: number, data: string }} EncodedImage
 */
/** @typedef {{ size: [height: number, width: number], counts: string }} Runs COCO's compressed run lengths */
/** @typedef {{ format: "rle", width: number, height: number, masks: (Runs & { class_id: number })[] }} RunLengths */
/** @typedef {{ type: "MultiPolygon", coordinates: [x: number, y: number][][][] }} MultiPolygon */
/** @typedef {{ type: "Feature", properties: ClassLabel, geometry: MultiPolygon }} Feature */
/**
 * @typedef {{ format: "polygons", type: "FeatureCollection", width: number, height: number, features: Feature[] }}
 *   Polygons
 */

/**
 * Best class first. `unknown` is true if the image is probably of none of the model's classes.
 * @typedef {Answer & { model: ModelName, predictions: Prediction[], unknown?: boolean }} Classification
 */
/**
 * @typedef {{ model: ModelName, predictions: Prediction[], unknown?: boolean, error?: undefined } |
 *   { model: ModelName, predictions?: undefined, error: import("./problems.js").Problem }} ModelPredictions
 */
/** @typedef {Answer & { models: ModelPredictions[] }} Comparison */

/** @typedef {Prediction & { color: string, pixels: number, share: number, bbox: Box }} Segment */
/**
 * @typedef {Answer & { model: ModelName, segments: Segment[], mask?: EncodedImage | RunLengths | Polygons,
 *   overlay?: EncodedImage, confidence?: EncodedImage }} Segmentation segments by area
 */

/**
 * @typedef {Prediction & { bbox: Box, color: string, category_id?: number, pixels?: number,
 *   mask?: ({ format: "rle" } & Runs) | ({ format: "polygons" } & MultiPolygon) }} Detection
 */
/** @typedef {Answer & { model: ModelName, detections: Detection[], overlay?: EncodedImage }} Detections best first */

/**
 * @typedef {Answer & { model: ModelName, embedding: { encoding: "base64", dimensions: number, data: string } }}
 *   Embedding 32-bit floats, little-endian
 */

/** @typedef {Prediction & { bias: number, map: number[][], overlay?: EncodedImage }} ClassExplanation */
/** @typedef {{ stage: number, block: number, splits: number[], spread: number[] }} BlockAttention */
/**
 * @typedef {Answer & { model: ModelName, seen: Box, explanations: ClassExplanation[], attention: BlockAttention[],
 *   unknown?: boolean }} Explanation `seen` is the part of the image that the model saw
 */

/**
 * A served model.
 * @typedef {ModelName & { summary: string, licence: string, source: string, state: string, default: boolean,
 *   share: number, shadow: number, classes: number, knows: string, published: Record<string, unknown>,
 *   measured: Record<string, unknown> }} Model
 */
/**
 * @typedef {Model & { network: string, identity: string, languages: string[], formats: string[],
 *   calibration?: { temperature: number, min_logit?: number, min_domain_score?: number },
 *   labels: (ClassLabel & { color?: string, category_id?: number })[],
 *   limits: { max_upload_bytes: number, max_images: number, max_pixels: number, max_side: number, min_side: number }
 *   }} ModelDetail
 */

export {};
