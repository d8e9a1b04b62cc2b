// What you can ask a model: for each endpoint its task, its parameters, and how the page uses them.

/**
 * @typedef {object} Option a parameter that the user may set
 * @property {string} name
 * @property {string} label
 * @property {"number" | "select"} kind
 * @property {string} value the service's default, which is left out of the request
 * @property {string} hint
 * @property {number} [min]
 * @property {number} [max]
 * @property {number} [step]
 * @property {[value: string, label: string][]} [choices]
 */
/**
 * @typedef {object} Endpoint
 * @property {string} name
 * @property {string} title
 * @property {string} task of the models that have it
 * @property {string} path relative to the page
 * @property {string} hint
 * @property {"together" | "apart" | null} compares several models: in one request, in one request each, or not at all
 * @property {Record<string, string>} fixed parameters that the page needs
 * @property {Option[]} options
 * @property {string} member of a result that the code examples print
 */

/** @type {(value: string, hint: string) => Option} */
const minScore = (value, hint) => ({
  name: "min_score",
  label: "Lowest score",
  kind: "number",
  value,
  hint,
  min: 0,
  max: 1,
  step: 0.05,
});

/** @type {(value: string, max: number, hint: string) => Option} */
const topK = (value, max, hint) => ({
  name: "top_k",
  label: "Number of classes",
  kind: "number",
  value,
  hint,
  min: 1,
  max,
  step: 1,
});

/** @type {readonly Endpoint[]} */
export const ENDPOINTS = [
  {
    name: "classify",
    title: "Classify",
    task: "classification",
    path: "v1/classify",
    hint: "What is in the image? Choose several models to compare them.",
    compares: "together",
    fixed: {},
    options: [topK("5", 1000, "the best classes"), minScore("0", "leaves out classes below it")],
    member: "predictions",
  },
  {
    name: "segment",
    title: "Segment",
    task: "segmentation",
    path: "v1/segment",
    hint: "Which class has each pixel? Choose several models to compare them.",
    compares: "apart",
    fixed: {},
    options: [
      {
        name: "quality",
        label: "Quality",
        kind: "select",
        value: "fast",
        hint: "best takes about forty times the work",
        choices: [
          ["fast", "fast: one pass"],
          ["best", "best: many scales"],
        ],
      },
    ],
    member: "segments",
  },
  {
    name: "detect",
    title: "Detect",
    task: "detection",
    path: "v1/detect",
    hint: "Where are the objects, one by one? Choose several models to compare them.",
    compares: "apart",
    fixed: {},
    options: [minScore("0.5", "leaves out detections below it")],
    member: "detections",
  },
  {
    name: "explain",
    title: "Explain",
    task: "classification",
    path: "v1/explain",
    hint: "Which parts of the image speak for a class?",
    compares: "apart",
    fixed: { top_k: "3", overlay: "false" },
    options: [],
    member: "explanations",
  },
  {
    name: "embed",
    title: "Similarity",
    task: "classification",
    path: "v1/embed",
    hint: "How similar are images? Add two or more.",
    compares: null,
    fixed: { normalise: "true", encoding: "base64" },
    options: [],
    member: "embedding",
  },
];

/**
 * Return the endpoints that at least one of the models has.
 * @param {readonly import("./service.js").Model[]} models
 * @returns {Endpoint[]}
 */
export function servedEndpoints(models) {
  return ENDPOINTS.filter((endpoint) => models.some((model) => model.task === endpoint.task));
}

/**
 * Return the queries of the requests that compare these models: one, or one for each model.
 * @param {Endpoint} endpoint
 * @param {readonly import("./service.js").Model[]} models that were chosen
 * @param {Readonly<Record<string, string>>} values of the options, by name
 * @returns {URLSearchParams[]}
 */
export function queriesOf(endpoint, models, values) {
  const groups = endpoint.compares === "apart" && models.length > 1 ? models.map((model) => [model]) : [models];
  return groups.map((group) => queryOf(endpoint, group, values));
}

/**
 * Return the query of a request. A value that is the service's default is left out, and so is the only default model.
 * @param {Endpoint} endpoint
 * @param {readonly import("./service.js").Model[]} models that were chosen
 * @param {Readonly<Record<string, string>>} values of the options, by name
 * @returns {URLSearchParams}
 */
function queryOf(endpoint, models, values) {
  const query = new URLSearchParams();
  if (models.length > 1 || models.some((model) => !model.default)) {
    for (const model of models) query.append("model", model.name);
  }
  for (const [name, value] of Object.entries(endpoint.fixed)) query.append(name, value);
  for (const option of endpoint.options) {
    const value = values[option.name] ?? option.value;
    if (value !== "" && value !== option.value) query.append(option.name, value);
  }
  return query;
}
