// Boxes, labels and instance masks over the image, with a list of the detections.

import { decodeRuns } from "../decode/rle.js";
import { contextOf, counted, element, percent } from "../dom.js";
import { channels, legend, opacitySlider } from "./layers.js";

/** @typedef {import("../service.js").Detection} Detection */
/** @typedef {import("../stage.js").Context} Context */

const FILL = 0.45; // opacity of a mask, below that of the box's line
const LINE = 2.5; // width in pixels of the canvas
const LIGHT = 150; // a colour of this luma or more has black letters

/**
 * Draw the detections of one image, and return their controls.
 * @param {import("../service.js").Result} result
 * @param {import("../stage.js").Stage} stage
 * @returns {HTMLElement}
 */
export function detectionsView(result, stage) {
  const detections = result.detections ?? [];
  const size = result.image ?? { width: 1, height: 1 };
  const masks = detections.map((detection) => maskOf(detection));
  const draw = /** @type {(shown: ReadonlySet<string>, emphasised: string | null) => void} */ (
    (shown, emphasised) => {
      const isDrawn = /** @param {number} index */ (index) =>
        emphasised === null ? shown.has(String(index)) : String(index) === emphasised;
      stage.paint(
        size,
        (context, scale) => {
          // The best last, so that it is above the others.
          for (let index = detections.length - 1; index >= 0; index--) {
            const detection = detections[index];
            if (detection && isDrawn(index)) drawDetection(context, scale, detection, masks[index] ?? null);
          }
        },
        (x, y) =>
          nameAt(
            detections.filter((_, index) => isDrawn(index)),
            x,
            y,
          ),
      );
    }
  );
  const rows = detections.map((each, index) => ({
    key: String(index),
    color: each.color,
    label: each.label,
    facts: [percent(each.score), `${Math.round(each.bbox[2])} × ${Math.round(each.bbox[3])} px`],
    shown: true,
  }));
  draw(new Set(rows.map((row) => row.key)), null);
  if (!rows.length) return element("p", { className: "quiet" }, "No object has such a score.");
  return element("div", {}, legend(counted(rows.length, "detection"), rows, draw), opacitySlider(stage));
}

/**
 * Return the name of the smallest detection whose box has this pixel.
 * @param {readonly Detection[]} detections
 * @param {number} x
 * @param {number} y
 */
export function nameAt(detections, x, y) {
  const under = detections.filter(
    ({ bbox: [left, top, width, height] }) => x >= left && y >= top && x < left + width && y < top + height,
  );
  under.sort((one, other) => one.bbox[2] * one.bbox[3] - other.bbox[2] * other.bbox[3]);
  return under[0] ? `${under[0].label} · ${percent(under[0].score)}` : null;
}

/**
 * Return what fills the mask: a canvas of the mask's size, or a path; null if there is no mask.
 * @param {Detection} detection
 * @returns {OffscreenCanvas | Path2D | null}
 */
export function maskOf({ mask, color }) {
  if (!mask) return null;
  return "counts" in mask ? runsCanvas(mask, color) : polygonPath(mask.coordinates);
}

/**
 * @param {import("../service.js").Runs} runs
 * @param {string} color
 */
function runsCanvas(runs, color) {
  const [height, width] = runs.size;
  const bits = decodeRuns(runs);
  const canvas = new OffscreenCanvas(width, height);
  const context = contextOf(canvas);
  const pixels = context.createImageData(width, height);
  const colour = [...channels(color), 255];
  for (let index = 0; index < bits.length; index++) if (bits[index]) pixels.data.set(colour, index * 4);
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** @param {number[][][][]} polygons rings of points x, y, the outer ring first, then its holes */
function polygonPath(polygons) {
  const path = new Path2D();
  for (const ring of polygons.flat()) {
    ring.forEach(([x = 0, y = 0], index) => {
      if (index) path.lineTo(x, y);
      else path.moveTo(x, y);
    });
    path.closePath();
  }
  return path;
}

/**
 * Draw a mask, a box and a label.
 * @param {Context} context whose unit is a pixel of the upright image
 * @param {number} scale pixels of the canvas for each pixel of the image
 * @param {Detection} detection
 * @param {OffscreenCanvas | Path2D | null} mask
 */
export function drawDetection(context, scale, { label, score, bbox, color }, mask) {
  const [left, top, width, height] = bbox;
  context.fillStyle = context.strokeStyle = color;
  context.globalAlpha = FILL;
  if (mask instanceof Path2D) context.fill(mask, "evenodd");
  else if (mask) context.drawImage(mask, 0, 0);
  context.globalAlpha = 1;
  context.lineWidth = LINE / scale;
  context.strokeRect(left, top, width, height);
  const letters = 14 / scale;
  context.font = `600 ${letters}px system-ui, sans-serif`;
  const text = `${label} ${percent(score)}`;
  const tag = { width: context.measureText(text).width + letters, height: letters * 1.5 };
  const above = top >= tag.height ? top - tag.height : top;
  context.fillRect(left - context.lineWidth / 2, above, tag.width, tag.height);
  const [red, green, blue] = channels(color);
  context.fillStyle = 0.299 * red + 0.587 * green + 0.114 * blue >= LIGHT ? "#000000" : "#ffffff";
  context.fillText(text, left + letters / 2, above + letters * 1.1);
}
