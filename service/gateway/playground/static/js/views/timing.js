// Where the time of a request went, as a waterfall of the stages that the service measured.

import { element } from "../dom.js";

const MEANINGS = /** @type {Record<string, string>} */ ({
  upload: "receive the body",
  decode: "decode the image",
  queue: "wait for the model",
  inference: "run the network",
  encode: "write the answer",
});
const TOTAL = "total";

/** @typedef {{ name: string, ms: number, startMs: number, meaning: string }} Span */

/**
 * Return the stages, each beginning where the one before ended, then the service's total and the browser's time.
 * @param {readonly import("../service.js").Stage[]} stages
 * @param {number} roundTripMs
 * @returns {Span[]}
 */
export function spansOf(stages, roundTripMs) {
  let startMs = 0;
  /** @type {Span[]} */
  const spans = [];
  for (const { name, ms } of stages.filter((stage) => stage.name !== TOTAL)) {
    spans.push({ name, ms, startMs, meaning: MEANINGS[name] ?? "" });
    startMs += ms;
  }
  const total = stages.find((stage) => stage.name === TOTAL);
  if (total) spans.push({ name: "service", ms: total.ms, startMs: 0, meaning: "from the first byte to the answer" });
  spans.push({ name: "browser", ms: roundTripMs, startMs: 0, meaning: "with the network" });
  return spans;
}

/**
 * Return the waterfall as a table.
 * @param {import("../service.js").Outcome} outcome
 * @param {string} [name] of the model, if there are several tables
 * @returns {HTMLElement}
 */
export function timingView({ stages, roundTripMs }, name) {
  const spans = spansOf(stages, roundTripMs);
  const longest = Math.max(...spans.map((span) => span.startMs + span.ms), 1);
  const rows = spans.map((span) => {
    const fill = element("span", { className: `bar-fill stage-${span.name}` });
    fill.style.marginInlineStart = `${(span.startMs / longest) * 100}%`;
    fill.style.width = `${Math.max(0.4, (span.ms / longest) * 100)}%`;
    return element(
      "tr",
      {},
      element("th", { scope: "row", title: span.meaning }, span.name),
      element("td", { className: "waterfall" }, element("span", { className: "bar", "aria-hidden": "true" }, fill)),
      element("td", { className: "number" }, `${span.ms.toFixed(1)} ms`),
    );
  });
  const caption = name && element("caption", {}, name);
  return element("table", { className: "timing" }, caption, element("tbody", {}, ...rows));
}
