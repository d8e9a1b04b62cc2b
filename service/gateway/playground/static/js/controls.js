// The form: what to ask, which models, the options, and the key.

import { byId, element } from "./dom.js";
import { storedKey, storeKey } from "./service.js";

/** @typedef {import("./service.js").Model} Model */
/** @typedef {import("./tasks.js").Endpoint} Endpoint */
/** @typedef {import("./tasks.js").Option} Option */

/**
 * Show a radio button for each endpoint.
 * @param {readonly Endpoint[]} endpoints
 * @param {Endpoint} current
 * @param {(endpoint: Endpoint) => void} choose
 */
export function showEndpoints(endpoints, current, choose) {
  const choices = endpoints.map((endpoint) => {
    const radio = element("input", { type: "radio", name: "endpoint", value: endpoint.name });
    radio.checked = endpoint === current;
    radio.addEventListener("change", () => choose(endpoint));
    return element("label", {}, radio, element("span", {}, endpoint.title));
  });
  byId("endpoints", HTMLElement).replaceChildren(...choices);
}

/**
 * Show the models of an endpoint: boxes if several of them can be compared, else radio buttons.
 * @param {readonly Model[]} models
 * @param {boolean} several
 * @param {ReadonlySet<string>} chosen their names
 * @param {(names: string[]) => void} choose
 */
export function showModels(models, several, chosen, choose) {
  const inputs = models.map((model) => {
    const kind = several ? "checkbox" : "radio";
    const input = element("input", { type: kind, name: "model", value: model.name });
    input.checked = chosen.has(model.name);
    return input;
  });
  const rows = models.map((model, index) => {
    const input = inputs[index] ?? element("input");
    input.addEventListener("change", () => {
      const names = inputs.filter((each) => each.checked).map((each) => each.value);
      if (!names.length) input.checked = true; // at least one model answers
      choose(names.length ? names : [model.name]);
    });
    const state = model.state === "ready" ? null : element("span", { className: "state" }, model.state);
    const about = element("small", {}, model.summary);
    const text = element("span", {}, element("span", { className: "name" }, model.name), state, about);
    return element("label", {}, input, text);
  });
  byId("models", HTMLElement).replaceChildren(...rows);
}

/**
 * Show an input for each option; `changed` gets all their values.
 * @param {readonly Option[]} options
 * @param {Readonly<Record<string, string>>} values
 * @param {(values: Record<string, string>) => void} changed
 */
export function showOptions(options, values, changed) {
  byId("options-panel", HTMLElement).hidden = !options.length;
  /** @type {Record<string, string>} */
  const current = { ...values };
  const rows = options.map((option) => {
    const input = inputOf(option, current[option.name] ?? option.value);
    input.addEventListener("change", () => {
      if (!input.checkValidity()) {
        input.reportValidity();
        return;
      }
      current[option.name] = input.value;
      changed(current);
    });
    return element("label", {}, element("span", {}, option.label), input, element("small", {}, option.hint));
  });
  byId("options", HTMLElement).replaceChildren(...rows);
}

/**
 * @param {Option} option
 * @param {string} value
 * @returns {HTMLInputElement | HTMLSelectElement}
 */
function inputOf(option, value) {
  if (option.kind === "number") {
    const { min, max, step, name } = option;
    return element("input", { type: "number", name, required: true, min, max, step, value });
  }
  const choices = (option.choices ?? []).map(([choice, label]) =>
    element("option", { value: choice, selected: choice === value }, label),
  );
  return element("select", { name: option.name }, ...choices);
}

/**
 * Make the form keep a key until the tab is closed.
 * @param {() => void} changed
 */
export function watchKey(changed) {
  const input = byId("key", HTMLInputElement);
  const state = byId("key-state", HTMLElement);
  const show = () => {
    state.textContent = storedKey() ? "set" : "none";
  };
  input.value = storedKey();
  show();
  byId("key-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    storeKey(input.value.trim());
    show();
    changed();
  });
}

/** Open the field for the key: the service asked for one. */
export function openKey() {
  byId("key-panel", HTMLDetailsElement).open = true;
}
