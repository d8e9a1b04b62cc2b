// An image that is shown, a layer drawn over it, and the name of what the pointer is on.

import { contextOf, element, within } from "./dom.js";

const LONGEST_SIDE = 1600; // of the layer in pixels; a larger one takes memory and shows no more

/** @typedef {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} Context */
/** @typedef {(x: number, y: number) => string | null} NameAt names what is at a pixel of the upright image */

/** Return a figure for a further stage, such as that of one of several models. */
export function stageFigure() {
  return element(
    "figure",
    { className: "stage" },
    element("img"),
    element("canvas", { "aria-hidden": "true", hidden: true }),
    element("figcaption", {}, "This browser cannot show this file."),
    element("span", { "aria-hidden": "true", hidden: true }),
  );
}

export class Stage {
  /** @param {HTMLElement} figure with an image, a canvas, a caption and a text for the pointer */
  constructor(figure) {
    this.figure = figure;
    this.image = within(figure, "img", HTMLImageElement);
    this.layer = within(figure, "canvas", HTMLCanvasElement);
    this.tip = within(figure, "span", HTMLElement);
    /** @type {NameAt | null} */
    this.nameAt = null;
    this.size = { width: 1, height: 1 };
    /** How often the layer was removed. A view that waits checks it, so that it draws over no other image. */
    this.cleared = 0;
    this.image.addEventListener("load", () => this.#fit(this.image.naturalWidth, this.image.naturalHeight));
    this.image.addEventListener("error", () => this.figure.classList.add("no-preview"));
    this.figure.addEventListener("pointermove", (event) => this.#point(event));
    this.figure.addEventListener("pointerdown", (event) => this.#point(event));
    this.figure.addEventListener("pointerleave", () => this.#hideTip());
  }

  /**
   * Show an image without a layer.
   * @param {import("./images.js").Upload} upload
   */
  show(upload) {
    this.figure.hidden = false;
    if (this.image.src !== upload.url) {
      this.figure.classList.remove("no-preview");
      this.image.src = upload.url;
    }
    this.image.alt = upload.file.name;
    this.clear();
  }

  /** Remove the layer. */
  clear() {
    this.cleared += 1;
    this.layer.hidden = true;
    this.nameAt = null;
    this.#hideTip();
  }

  /**
   * Draw a layer. The coordinates of `draw` are pixels of the upright image, however large the canvas is.
   * @param {{ width: number, height: number }} size of the upright image
   * @param {(context: Context, scale: number) => void} draw
   * @param {NameAt | null} nameAt
   */
  paint(size, draw, nameAt) {
    const scale = Math.min(1, LONGEST_SIDE / Math.max(size.width, size.height));
    this.size = size;
    this.#fit(size.width, size.height);
    this.layer.width = Math.max(1, Math.round(size.width * scale));
    this.layer.height = Math.max(1, Math.round(size.height * scale));
    this.layer.hidden = false;
    const context = contextOf(this.layer);
    context.setTransform(this.layer.width / size.width, 0, 0, this.layer.height / size.height, 0, 0);
    draw(context, scale);
    this.nameAt = nameAt;
  }

  /**
   * Set the opacity of the layer.
   * @param {number} opacity 0 to 1
   */
  fade(opacity) {
    this.layer.style.opacity = String(opacity);
  }

  /**
   * Give image and layer the same box, of the image's ratio: a point of the box is then a point of the image.
   * @param {number} width
   * @param {number} height
   */
  #fit(width, height) {
    this.figure.style.setProperty("--ratio", String(width / Math.max(1, height)));
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const box = this.layer.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    const inside = left >= 0 && top >= 0 && left < box.width && top < box.height;
    const name =
      this.nameAt && inside
        ? this.nameAt(
            Math.floor((left / box.width) * this.size.width),
            Math.floor((top / box.height) * this.size.height),
          )
        : null;
    if (!name) {
      this.#hideTip();
      return;
    }
    const outer = this.figure.getBoundingClientRect();
    this.tip.textContent = name;
    this.tip.hidden = false;
    const room = outer.width - this.tip.offsetWidth - 4;
    this.tip.style.left = `${Math.max(4, Math.min(event.clientX - outer.left + 14, room))}px`;
    this.tip.style.top = `${Math.max(4, event.clientY - outer.top - 34)}px`;
  }

  #hideTip() {
    this.tip.hidden = true;
  }
}
