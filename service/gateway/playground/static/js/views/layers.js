// What the views that draw over the image share: colours, the opacity, and a legend whose classes can be switched.

import { element, slider } from "../dom.js";

/** @typedef {{ key: string, color: string, label: string, facts: string[], shown: boolean }} LegendRow */

const OPACITY = { min: 0, max: 1, step: 0.05 };
let opacity = 0.6; // kept from image to image

/**
 * Return a slider of the layer's opacity, and set that opacity.
 * @param {import("../stage.js").Stage} stage
 * @returns {HTMLElement}
 */
export function opacitySlider(stage) {
  stage.fade(opacity);
  const written = /** @param {number} value */ (value) => `${Math.round(value * 100)} %`;
  return slider("Opacity", { ...OPACITY, value: opacity }, written, (value) => {
    opacity = value;
    stage.fade(value);
  });
}

/**
 * Return a legend. `changed` gets the keys that are switched on, and the key that the pointer or the focus is on.
 * @param {string} title
 * @param {readonly LegendRow[]} rows
 * @param {(shown: ReadonlySet<string>, emphasised: string | null) => void} changed
 * @returns {HTMLElement}
 */
export function legend(title, rows, changed) {
  const shown = new Set(rows.filter((row) => row.shown).map((row) => row.key));
  const items = rows.map((row) => {
    const box = element("input", { type: "checkbox", checked: row.shown });
    const swatch = element("span", { className: "swatch", "aria-hidden": "true" });
    swatch.style.background = row.color;
    box.addEventListener("change", () => {
      if (box.checked) shown.add(row.key);
      else shown.delete(row.key);
      changed(shown, box.checked ? row.key : null);
    });
    const facts = row.facts.map((fact) => element("span", { className: "fact" }, fact));
    const item = element("li", {}, element("label", {}, box, swatch, element("span", {}, row.label), ...facts));
    for (const name of ["pointerenter", "focusin"]) item.addEventListener(name, () => changed(shown, row.key));
    for (const name of ["pointerleave", "focusout"]) item.addEventListener(name, () => changed(shown, null));
    return item;
  });
  const list = element("ul", { className: "legend" }, ...items);
  return element("fieldset", { className: "plain" }, element("legend", {}, title), list);
}

/**
 * Return red, green and blue of `#rrggbb`, 0 to 255.
 * @param {string} color
 * @returns {[number, number, number]}
 */
export function channels(color) {
  const value = Number.parseInt(color.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}
