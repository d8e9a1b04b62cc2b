// Build and find elements without markup strings, which the page's policy forbids.

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Return a new element with these properties and children. A property with a hyphen, `role` or `for` is an attribute.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, String(value));
    else Reflect.set(made, name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/**
 * Return the element of the page with this id. Throw if there is none of this class.
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} #${id}`);
  return found;
}

/**
 * Return the first element in another one that a selector finds. Throw if there is none of this class.
 * @template {HTMLElement} Kind
 * @param {HTMLElement} outer
 * @param {string} selector
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function within(outer, selector, kind) {
  const found = outer.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`There is no ${kind.name} ${selector}`);
  return found;
}

/**
 * Return the 2D context of a canvas. Throw if the browser gives none.
 * @param {HTMLCanvasElement | OffscreenCanvas} canvas
 * @returns {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D}
 */
export function contextOf(canvas) {
  const context = /** @type {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D | null} */ (
    canvas.getContext("2d")
  );
  if (!context) throw new Error("This browser gives no 2D context");
  return context;
}

/**
 * Return a labelled slider.
 * @param {string} label
 * @param {{ min: number, max: number, step: number, value: number }} range
 * @param {(value: number) => string} written
 * @param {(value: number) => void} changed is called while the slider moves
 * @returns {HTMLLabelElement}
 */
export function slider(label, range, written, changed) {
  const value = element("output", {}, written(range.value));
  const input = element("input", { type: "range", ...range });
  input.addEventListener("input", () => {
    value.textContent = written(input.valueAsNumber);
    changed(input.valueAsNumber);
  });
  return element("label", { className: "slider" }, element("span", {}, label), input, value);
}

/**
 * Return a number with its noun, which gets an s unless the number is 1.
 * @param {number} count
 * @param {string} noun
 * @returns {string}
 */
export function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * Return a share as a percentage with one digit.
 * @param {number} share 0 to 1
 * @returns {string}
 */
export function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}

/**
 * Offer bytes to the user as a file.
 * @param {string} name
 * @param {BlobPart} content
 * @param {string} type
 */
export function download(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // the browser has begun to read it by then
}
