// A problem in the service's own words, with the limit that was broken and the page about the remedy.

import { element } from "../dom.js";

/**
 * Return a panel with the problem.
 * @param {import("../service.js").Problem} problem
 * @returns {HTMLElement}
 */
export function problemPanel(problem) {
  const page = problem.type.replace(/^\//, ""); // relative, behind a path prefix too
  const link = element("a", { href: page, target: "_blank", rel: "noopener" }, "What to do");
  return element(
    "div",
    { className: "problem" },
    element("p", { className: "problem-title" }, problem.title, element("code", {}, problem.code)),
    element("p", {}, problem.detail),
    factsOf(problem),
    page && element("p", {}, link),
    problem.request_id && element("p", { className: "quiet" }, "Request ", element("code", {}, problem.request_id)),
  );
}

/**
 * Return the problem of an answer that this page cannot show.
 * @param {unknown} cause
 * @returns {import("../service.js").Problem}
 */
export function notShown(cause) {
  const detail = `The service answered, but this page cannot show the answer (${cause}). The JSON below has it.`;
  return { type: "", title: "The answer cannot be shown", status: 0, detail, code: "not_shown" };
}

/** @param {import("../service.js").Problem} problem */
function factsOf(problem) {
  /** @type {[string, string][]} */
  const rows = [];
  if (problem.limit !== undefined) rows.push(["Limit", problem.limit.toLocaleString("en")]);
  if (problem.actual !== undefined) rows.push(["Here", problem.actual.toLocaleString("en")]);
  if (problem.accepted) rows.push(["Accepted", problem.accepted.join(", ")]);
  if (problem.available) rows.push(["Available", problem.available.join(", ")]);
  for (const { parameter, detail } of problem.errors ?? []) rows.push([parameter || "Body", detail]);
  if (!rows.length) return null;
  return element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}
