// Labels with scores as bars, those of several models side by side.

import { element, percent } from "../dom.js";
import { problemPanel } from "./problem.js";

/** @typedef {import("../service.js").Prediction} Prediction */

/**
 * Return the labels of one image, in a column for each model.
 * @param {import("../service.js").Result} result
 * @param {import("../service.js").Answer} answer
 * @returns {HTMLElement}
 */
export function barsView(result, answer) {
  const blocks = result.models ?? (answer.model ? [{ ...result, model: answer.model }] : []);
  const columns = blocks.map(({ model, predictions, error }) =>
    element(
      "section",
      {},
      element("h3", {}, model.name, element("small", {}, ` ${model.version}`)),
      error ? problemPanel(error) : barList(predictions ?? []),
    ),
  );
  return element("div", { className: "model-blocks" }, ...columns);
}

/**
 * Return a list of labels with their scores as bars.
 * @param {readonly Prediction[]} predictions
 * @returns {HTMLElement}
 */
export function barList(predictions) {
  if (!predictions.length) return element("p", { className: "quiet" }, "No class has such a score.");
  const rows = predictions.map(({ label, score }) => {
    const fill = element("span", { className: "bar-fill" });
    fill.style.width = `${score * 100}%`;
    return element(
      "li",
      {},
      element("span", { className: "bar-label" }, label),
      element("span", { className: "bar-value" }, percent(score)),
      element("span", { className: "bar", "aria-hidden": "true" }, fill),
    );
  });
  return element("ol", { className: "bars" }, ...rows);
}
