// A heat map of the evidence for a class, over the part of the image that the network saw.

import { contextOf, element, percent } from "../dom.js";
import { opacitySlider } from "./layers.js";

// Evidence from none to the most: transparent, blue, magenta, orange, yellow.
const STOPS = [
  [0, 0, 0, 0],
  [56, 62, 200, 120],
  [190, 40, 140, 190],
  [245, 125, 40, 230],
  [255, 235, 90, 255],
];
let views = 0; // so that the choice of one view changes no other
const UNSEEN = "#000000b0"; // over the part of the image that the network did not see

/**
 * Draw the evidence for the best class of one image, and return the list to choose another.
 * @param {import("../service.js").Result} result
 * @param {import("../stage.js").Stage} stage
 * @returns {HTMLElement}
 */
export function heatView(result, stage) {
  const explanations = result.explanations ?? [];
  const name = `explained-${++views}`;
  const size = result.image ?? { width: 1, height: 1 };
  const seen = result.seen ?? [0, 0, size.width, size.height];
  const draw = /** @param {import("../service.js").Explanation} explanation */ (explanation) =>
    stage.paint(size, (context) => paintHeat(context, explanation.map, seen), null);
  const rows = explanations.map((explanation, index) => {
    const radio = element("input", { type: "radio", name, checked: index === 0 });
    radio.addEventListener("change", () => draw(explanation));
    const score = element("span", { className: "fact" }, percent(explanation.score));
    return element("li", {}, element("label", {}, radio, element("span", {}, explanation.label), score));
  });
  if (explanations[0]) draw(explanations[0]);
  return element(
    "div",
    {},
    element(
      "fieldset",
      { className: "plain" },
      element("legend", {}, "Evidence for"),
      element("ul", { className: "legend" }, ...rows),
    ),
    element(
      "p",
      { className: "scale" },
      "none",
      element("span", { className: "heat-scale", "aria-hidden": "true" }),
      "most; dark: not seen",
    ),
    opacitySlider(stage),
  );
}

/**
 * Paint a map over the part of the image that was seen. Evidence against the class is painted as none.
 * @param {import("../stage.js").Context} context whose unit is a pixel of the upright image
 * @param {readonly number[][]} map a grid with the top row first
 * @param {readonly number[]} seen x, y, width, height
 */
export function paintHeat(context, map, seen) {
  const [rows, columns] = [map.length, map[0]?.length ?? 0];
  if (!rows || !columns) return;
  const most = Math.max(...map.flat(), Number.MIN_VALUE);
  const small = new OffscreenCanvas(columns, rows);
  const pixels = contextOf(small).createImageData(columns, rows);
  map.flat().forEach((value, index) => {
    pixels.data.set(heatColour(Math.max(0, value) / most), index * 4);
  });
  contextOf(small).putImageData(pixels, 0, 0);
  const [left = 0, top = 0, width = 1, height = 1] = seen;
  const { a: across, d: down } = context.getTransform(); // pixels of the canvas for each pixel of the image
  context.fillStyle = UNSEEN;
  context.fillRect(0, 0, context.canvas.width / across, context.canvas.height / down);
  context.clearRect(left, top, width, height);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, left, top, width, height);
}

/**
 * Return red, green, blue and opacity, 0 to 255.
 * @param {number} share of the most evidence, 0 to 1
 * @returns {number[]}
 */
export function heatColour(share) {
  const place = share * (STOPS.length - 1);
  const index = Math.min(Math.floor(place), STOPS.length - 2);
  const [low, high] = [STOPS[index] ?? [], STOPS[index + 1] ?? []];
  return low.map((from, channel) => from + ((high[channel] ?? 0) - from) * (place - index));
}
