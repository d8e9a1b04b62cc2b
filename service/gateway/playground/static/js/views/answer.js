// The view of one image's result, chosen by the endpoint that answered.

import { counted, download, element } from "../dom.js";
import { bytesOf } from "../service.js";
import { barsView } from "./bars.js";
import { detectionsView } from "./detections.js";
import { heatView } from "./heat.js";
import { problemPanel } from "./problem.js";
import { segmentsView } from "./segments.js";
import { similarityView } from "./similarity.js";

const WARNINGS = /** @type {Record<string, string>} */ ({
  content_type_mismatch: "The file is of another type than it was declared.",
  first_frame_only: "Only the first frame of the animation was used.",
  out_of_domain: "The image is probably of none of the classes that the model knows: do not trust the scores.",
  alpha_composited: "Transparent parts were placed on white.",
});

/**
 * Return what to show of one image's result. Layers are drawn on the stage.
 * @param {import("../tasks.js").Endpoint} endpoint
 * @param {import("../service.js").Result} result
 * @param {import("../service.js").Answer} answer
 * @param {readonly import("../images.js").Upload[]} uploads
 * @param {import("../stage.js").Stage} stage
 * @returns {Promise<HTMLElement>}
 */
export async function resultView(endpoint, result, answer, uploads, stage) {
  if (endpoint.name === "embed" && answer.results.length > 1) return similarityView(answer, uploads);
  if (result.error) return problemPanel(result.error);
  const body = await bodyOf(endpoint, result, answer, uploads, stage);
  const warnings = (result.warnings ?? []).map((code) =>
    element("p", { className: "warning" }, WARNINGS[code] ?? `Warning: ${code}.`),
  );
  return element("div", {}, body, ...warnings, maskButton(result, uploads[result.index]?.file.name ?? "mask"));
}

/** @type {typeof resultView} */
async function bodyOf(endpoint, result, answer, uploads, stage) {
  if (endpoint.name === "segment") return segmentsView(result, stage);
  if (endpoint.name === "detect") return detectionsView(result, stage);
  if (endpoint.name === "explain") return heatView(result, stage);
  if (endpoint.name === "embed") return similarityView(answer, uploads);
  return barsView(result, answer);
}

/**
 * @param {import("../service.js").Result} result
 * @param {string} name of the image
 */
function maskButton({ mask }, name) {
  if (!mask) return null;
  const button = element("button", { type: "button", className: "quiet-button" }, "Download mask (PNG)");
  button.addEventListener("click", () =>
    download(`${name.replace(/\.\w+$/, "")}-mask.png`, bytesOf(mask.data), "image/png"),
  );
  return button;
}

/**
 * Return the shortest summary of a result.
 * @param {import("../service.js").Result} result
 * @returns {string}
 */
export function captionOf(result) {
  if (result.error) return result.error.title;
  const best = result.predictions ?? result.models?.[0]?.predictions ?? result.explanations;
  if (best) return best[0]?.label ?? "";
  if (result.detections) return counted(result.detections.length, "object");
  return result.segments?.map((segment) => segment.label).join(", ") ?? "";
}
