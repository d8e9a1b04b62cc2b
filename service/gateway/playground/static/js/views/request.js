// The request as code to copy, and the answer as JSON.

import { byId, download, element } from "../dom.js";
import { SNIPPETS } from "../snippets.js";

const LONGEST_TEXT = 120; // characters of a string in the JSON that is shown
const LONGEST_LIST = 60; // numbers of a list
let chosen = 0; // the language, kept from request to request

/**
 * Show the request as code.
 * @param {import("../snippets.js").Call} call
 */
export function showCode(call) {
  const code = byId("code-text", HTMLElement);
  const write = () => {
    code.textContent = SNIPPETS[chosen]?.write(call) ?? "";
  };
  const choices = SNIPPETS.map(({ title }, index) => {
    const radio = element("input", { type: "radio", name: "language", checked: index === chosen, value: title });
    radio.addEventListener("change", () => {
      chosen = index;
      write();
    });
    return element("label", {}, radio, element("span", {}, title));
  });
  byId("code-languages", HTMLElement).replaceChildren(...choices);
  write();
}

/** Make the button copy the code that is shown. */
export function watchCopy() {
  const button = byId("code-copy", HTMLButtonElement);
  button.addEventListener("click", async () => {
    const code = byId("code-text", HTMLElement);
    try {
      await navigator.clipboard.writeText(code.textContent ?? "");
      button.textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren(code); // a page without TLS may not write: the user copies the selection
      button.textContent = "Selected";
    }
    setTimeout(() => {
      button.textContent = "Copy";
    }, 2000);
  });
}

/**
 * Show the answer or the problem, with long texts and lists cut, and offer all of it as a file.
 * @param {unknown} document
 */
export function showJson(document) {
  byId("json-text", HTMLElement).textContent = JSON.stringify(document, shortened, 2);
  byId("json-download", HTMLButtonElement).onclick = () =>
    download("answer.json", JSON.stringify(document, null, 2), "application/json");
}

/**
 * @param {string} _key
 * @param {unknown} value
 */
function shortened(_key, value) {
  if (typeof value === "string" && value.length > LONGEST_TEXT) {
    return `${value.slice(0, LONGEST_TEXT)} … (${value.length.toLocaleString("en")} characters)`;
  }
  if (Array.isArray(value) && value.length > LONGEST_LIST) {
    return [...value.slice(0, LONGEST_LIST), `… (${value.length.toLocaleString("en")} items)`];
  }
  return value;
}
