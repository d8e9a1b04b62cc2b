// A segmentation mask over the image, with a legend of the classes and their shares.

import { decodeIndexedPng } from "../decode/png.js";
import { element, percent } from "../dom.js";
import { bytesOf } from "../service.js";
import { channels, legend, opacitySlider } from "./layers.js";

const BACKGROUND = "#000000"; // black stands for background: at first it does not darken the image
const DIMMED = 0.25; // opacity of the other classes while one is emphasised

/** @typedef {import("../decode/png.js").ClassMap} ClassMap */

/**
 * Draw the mask of one image, and return its controls.
 * @param {import("../service.js").Result} result
 * @param {import("../stage.js").Stage} stage
 * @returns {Promise<HTMLElement>}
 */
export async function segmentsView(result, stage) {
  const segments = result.segments ?? [];
  const { cleared } = stage;
  const map = result.mask ? await decodeIndexedPng(bytesOf(result.mask.data)) : null;
  if (stage.cleared !== cleared) return element("div"); // another answer is shown by now
  const rows = segments.map((segment) => ({
    key: String(segment.class_id),
    color: segment.color,
    label: segment.label,
    facts: [percent(segment.share), `score ${segment.score.toFixed(2)}`],
    shown: segment.color !== BACKGROUND,
  }));
  const names = new Map(segments.map((each) => [each.class_id, `${each.label}, ${percent(each.share)} of the image`]));
  const draw = /** @type {(shown: ReadonlySet<string>, emphasised: string | null) => void} */ (
    (shown, emphasised) => {
      if (map) {
        const colours = coloursOf(segments, shown, emphasised);
        const nameAt = /** @type {import("../stage.js").NameAt} */ (
          (x, y) => names.get(map.ids[y * map.width + x] ?? -1) ?? null
        );
        stage.paint(map, (context) => paintClasses(context, map, colours), nameAt);
      }
    }
  );
  draw(new Set(rows.filter((row) => row.shown).map((row) => row.key)), null);
  return element("div", {}, legend("Classes by area", rows, draw), opacitySlider(stage));
}

/**
 * Return red, green, blue and opacity for each class id, four bytes each.
 * @param {readonly import("../service.js").Segment[]} segments
 * @param {ReadonlySet<string>} shown
 * @param {string | null} emphasised
 * @returns {Uint8ClampedArray<ArrayBuffer>}
 */
export function coloursOf(segments, shown, emphasised) {
  const colours = new Uint8ClampedArray(256 * 4);
  for (const { class_id: id, color } of segments) {
    const key = String(id);
    const isEmphasised = key === emphasised;
    if (!shown.has(key) && !isEmphasised) continue;
    const strength = emphasised === null || isEmphasised ? 1 : DIMMED;
    colours.set([...channels(color), 255 * strength], id * 4);
  }
  return colours;
}

/**
 * Paint a map of classes over the whole canvas, each pixel of which takes the nearest pixel of the map.
 * @param {import("../stage.js").Context} context
 * @param {ClassMap} map
 * @param {Uint8ClampedArray<ArrayBuffer>} colours of the class ids, as `coloursOf` returns them
 */
export function paintClasses(context, map, colours) {
  const { width, height } = context.canvas;
  const pixels = context.createImageData(width, height);
  const [from, to] = [new Uint32Array(colours.buffer), new Uint32Array(pixels.data.buffer)]; // a pixel at a time
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * map.height) / height) * map.width;
    for (let x = 0; x < width; x++) {
      const id = map.ids[row + Math.floor(((x + 0.5) * map.width) / width)] ?? 0;
      to[y * width + x] = from[id] ?? 0;
    }
  }
  context.putImageData(pixels, 0, 0);
}
