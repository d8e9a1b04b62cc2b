// The answers of several models about one image, side by side, each with its layer over the image.

import { element } from "../dom.js";
import { Stage, stageFigure } from "../stage.js";
import { resultView } from "./answer.js";
import { notShown, problemPanel } from "./problem.js";

/**
 * Return a column for each model. The problem of one model is shown in its column.
 * @param {import("../tasks.js").Endpoint} endpoint
 * @param {readonly import("../service.js").Outcome[]} outcomes of the models' requests
 * @param {readonly string[]} names of the models, in the same order
 * @param {number} selected the index of the image
 * @param {readonly import("../images.js").Upload[]} uploads
 * @returns {Promise<HTMLElement>}
 */
export async function comparisonView(endpoint, outcomes, names, selected, uploads) {
  const columns = [];
  for (const [index, outcome] of outcomes.entries()) {
    const version = element("small", {}, ` ${outcome.answer?.model?.version ?? ""}`);
    const title = element("h3", {}, names[index] ?? "", version);
    columns.push(element("section", {}, title, ...(await columnOf(endpoint, outcome, selected, uploads))));
  }
  return element("div", { className: "model-blocks" }, ...columns);
}

/**
 * @param {import("../tasks.js").Endpoint} endpoint
 * @param {import("../service.js").Outcome} outcome
 * @param {number} selected
 * @param {readonly import("../images.js").Upload[]} uploads
 * @returns {Promise<HTMLElement[]>}
 */
async function columnOf(endpoint, { answer, problem }, selected, uploads) {
  if (problem) return [problemPanel(problem)];
  const result = answer?.results.find((each) => each.index === selected);
  const upload = uploads[selected];
  if (!answer || !result || !upload) return [];
  const stage = new Stage(stageFigure());
  stage.show(upload);
  try {
    return [stage.figure, await resultView(endpoint, result, answer, uploads, stage)];
  } catch (cause) {
    return [problemPanel(notShown(cause))];
  }
}
