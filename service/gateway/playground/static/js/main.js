// The playground: connects the images, the form and the views.

import { watchCamera } from "./camera.js";
import { openKey, showEndpoints, showModels, showOptions, watchKey } from "./controls.js";
import { byId, element } from "./dom.js";
import { release, showStrip, uploadsOf, watchSources } from "./images.js";
import { ask, fetchModels, storedKey } from "./service.js";
import { Stage } from "./stage.js";
import { queriesOf, servedEndpoints } from "./tasks.js";
import { captionOf, resultView } from "./views/answer.js";
import { comparisonView } from "./views/comparison.js";
import { notShown, problemPanel } from "./views/problem.js";
import { showCode, showJson, watchCopy } from "./views/request.js";
import { timingView } from "./views/timing.js";

/** @typedef {import("./service.js").Model} Model */
/** @typedef {import("./service.js").Problem} Problem */
/** @typedef {import("./tasks.js").Endpoint} Endpoint */
/** @typedef {import("./service.js").Outcome} Outcome */
/** @typedef {{ endpoint: Endpoint, names: string[], outcomes: [Outcome, ...Outcome[]] }} Answered one or more requests */

class Playground {
  constructor() {
    this.stage = new Stage(byId("stage", HTMLElement));
    /** @type {Model[]} */
    this.models = [];
    /** @type {Endpoint | null} */
    this.endpoint = null;
    /** The names of the chosen models of each endpoint. @type {Map<string, Set<string>>} */
    this.chosen = new Map();
    /** The options of each endpoint. @type {Map<string, Record<string, string>>} */
    this.values = new Map();
    /** @type {import("./images.js").Upload[]} */
    this.uploads = [];
    this.selected = 0;
    /** @type {Answered | null} */
    this.answered = null;
    this.controller = new AbortController();
    this.result = byId("result-body", HTMLElement);
    this.status = byId("status", HTMLElement);
  }

  /** Watch the inputs, and load the models. */
  async start() {
    const given = /** @param {File[]} files */ (files) => this.give(files);
    watchSources(given, (problem) => this.fail(problem));
    watchCamera(given);
    watchCopy();
    watchKey(() => this.loadModels());
    byId("run", HTMLButtonElement).addEventListener("click", () => this.run());
    byId("clear", HTMLButtonElement).addEventListener("click", () => this.clear());
    await this.loadModels();
  }

  /** Load the models and show what they can do; run again if there are images. */
  async loadModels() {
    this.status.textContent = "Loading the models …";
    try {
      this.models = await fetchModels();
    } catch (error) {
      this.fail(/** @type {Problem} */ (error));
      return;
    }
    const endpoints = servedEndpoints(this.models);
    const current = endpoints.find((each) => each.name === this.endpoint?.name) ?? endpoints[0];
    this.status.textContent = "";
    if (!current) {
      this.status.textContent = "The service serves no model that this page can use.";
      return;
    }
    showEndpoints(endpoints, current, (endpoint) => this.choose(endpoint));
    this.result.replaceChildren(element("p", { className: "quiet" }, "Give an image, and the answer appears here."));
    this.choose(current);
  }

  /** @param {Endpoint} endpoint */
  choose(endpoint) {
    this.endpoint = endpoint;
    byId("hint", HTMLElement).textContent = endpoint.hint;
    const able = this.models.filter((model) => model.task === endpoint.task);
    const known = this.chosen.get(endpoint.name) ?? new Set();
    const first = able.find((model) => model.default) ?? able[0];
    const kept = able.filter((model) => known.has(model.name)).map((model) => model.name);
    const names = new Set(kept.length || !first ? kept : [first.name]);
    this.chosen.set(endpoint.name, names);
    showModels(able, endpoint.compares !== null, names, (chosen) => {
      this.chosen.set(endpoint.name, new Set(chosen));
      this.run();
    });
    showOptions(endpoint.options, this.values.get(endpoint.name) ?? {}, (values) => {
      this.values.set(endpoint.name, { ...values });
      this.run();
    });
    this.run();
  }

  /**
   * Take images: beside the present ones where several are compared, else in their place.
   * @param {File[]} files
   */
  give(files) {
    if (!files.length) return;
    if (this.endpoint?.name === "embed") {
      this.selected = this.uploads.length;
      this.uploads = [...this.uploads, ...uploadsOf(files)];
    } else {
      release(this.uploads);
      this.uploads = uploadsOf(files);
      this.selected = 0;
    }
    document.body.classList.add("has-images");
    this.run();
  }

  /** Forget the images and the answer. */
  clear() {
    this.controller.abort();
    release(this.uploads);
    this.uploads = [];
    this.answered = null;
    document.body.classList.remove("has-images", "busy");
    byId("stage", HTMLElement).hidden = true;
    byId("more", HTMLElement).hidden = true;
    this.status.textContent = "";
    this.result.replaceChildren();
    showStrip([], 0, [], () => {});
    byId("choose", HTMLButtonElement).focus();
  }

  /** Send the images, and show the answer. A request that is still under way is given up. */
  async run() {
    const { endpoint, uploads } = this;
    this.controller.abort();
    this.answered = null;
    if (!endpoint || !uploads.length) return;
    this.controller = new AbortController();
    const names = this.chosen.get(endpoint.name) ?? new Set();
    const models = this.models.filter((model) => names.has(model.name));
    const queries = queriesOf(endpoint, models, this.values.get(endpoint.name) ?? {});
    this.showImages();
    this.status.textContent = `Asking ${models.map((model) => model.name).join(" and ")} …`;
    document.body.classList.add("busy");
    const files = uploads.map((upload) => upload.file);
    const { signal } = this.controller;
    try {
      /** @type {Outcome[]} */
      const outcomes = [];
      // One after another, so that the times of the models do not disturb each other.
      for (const query of queries) outcomes.push(await ask({ path: endpoint.path, query, files }, signal));
      document.body.classList.remove("busy");
      const [first, ...others] = outcomes;
      if (!first) return;
      this.answered = { endpoint, names: models.map((model) => model.name), outcomes: [first, ...others] };
      this.showDetails(this.answered, queries, files);
      await this.showOutcome(this.answered);
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "AbortError")) throw error;
    }
  }

  /**
   * Show the times, the code and the JSON of the requests.
   * @param {Answered} answered
   * @param {readonly URLSearchParams[]} queries
   * @param {readonly File[]} files
   */
  showDetails({ endpoint, names, outcomes }, queries, files) {
    byId("more", HTMLElement).hidden = false;
    const [query = new URLSearchParams()] = queries;
    showCode({ endpoint, query, names: files.map((file) => file.name), hasKey: storedKey() !== "" });
    const apart = outcomes.length > 1;
    byId("code-note", HTMLElement).textContent = apart
      ? `Each model has a request of its own. This is that of ${names[0]}.`
      : "";
    const documents = outcomes.map(({ answer, problem }) => answer ?? problem);
    showJson(apart ? documents : documents[0]);
    const timings = outcomes.map((outcome, index) => timingView(outcome, apart ? names[index] : undefined));
    byId("timing", HTMLElement).replaceChildren(...timings);
  }

  /** Show the selected image, and the strip with all of them. */
  showImages() {
    const results = this.answered?.outcomes[0].answer?.results ?? [];
    const captions = this.uploads.map((_, index) => {
      const result = results.find((each) => each.index === index);
      return result ? captionOf(result) : null;
    });
    showStrip(this.uploads, this.selected, captions, (index) => {
      this.selected = index;
      if (this.answered) this.showOutcome(this.answered);
      else this.showImages();
    });
    const upload = this.uploads[this.selected];
    if (upload) this.stage.show(upload);
  }

  /** @param {Answered} answered */
  async showOutcome(answered) {
    const { endpoint, names, outcomes } = answered;
    const [outcome] = outcomes;
    this.showImages();
    if (outcomes.length > 1) {
      const total = outcomes.reduce((sum, each) => sum + each.roundTripMs, 0);
      this.status.textContent = `Answered in ${total.toFixed(0)} ms.`;
      const view = await comparisonView(endpoint, outcomes, names, this.selected, this.uploads);
      if (this.answered === answered) this.result.replaceChildren(view);
      return;
    }
    if (outcome.problem || !outcome.answer) {
      if (outcome.problem) this.fail(outcome.problem);
      return;
    }
    const { answer } = outcome;
    const result = answer.results.find((each) => each.index === this.selected);
    this.status.textContent = `Answered in ${outcome.roundTripMs.toFixed(0)} ms.`;
    if (!result) return;
    const view = await resultView(endpoint, result, answer, this.uploads, this.stage).catch((cause) =>
      problemPanel(notShown(cause)),
    );
    if (this.answered === answered) this.result.replaceChildren(view);
  }

  /** @param {Problem} problem */
  fail(problem) {
    const isAboutKey = problem.status === 401 || problem.status === 403;
    this.status.textContent = `Not answered: ${problem.title}.${isAboutKey ? " Enter a key under API key." : ""}`;
    this.result.replaceChildren(problemPanel(problem));
    if (isAboutKey) openKey();
  }
}

await new Playground().start();
