// Upload a photo to a service of another origin, and draw its mask over it. The service allows this page's origin in
// RESNEST_CORS_ORIGINS. `?service=` is its address.

import { Client, NoAnswerError, toBlob } from "../src/index.js";

const OPACITY = 0.6;

const service = new URLSearchParams(location.search).get("service") ?? "http://127.0.0.1:8000";
const WAY_OUT = "For a service at another address, add ?service=URL to the address of this page.";

const form = /** @type {HTMLFormElement} */ (document.querySelector("form"));
const status = /** @type {HTMLElement} */ (document.querySelector("[role=status]"));
const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector("canvas"));
const legend = /** @type {HTMLElement} */ (document.querySelector("ul"));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const photo = /** @type {File} */ (new FormData(form).get("photo"));
  status.textContent = "Sending …";
  try {
    const answer = await new Client(service, { timeout_s: 20 }).segment(photo);
    await draw(photo, answer);
    status.textContent = `${answer.model.name} answered in ${Math.round(answer.timing_ms.total)} ms.`;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    status.textContent = error instanceof NoAnswerError ? `${message}. ${WAY_OUT}` : message;
  }
});

/**
 * @param {File} photo
 * @param {import("../src/results.js").Segmentation} answer
 */
async function draw(photo, { image, mask, segments }) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  [canvas.width, canvas.height] = [image.width, image.height];
  context.drawImage(await createImageBitmap(photo), 0, 0, image.width, image.height);
  context.globalAlpha = OPACITY;
  if (mask?.format === "png") context.drawImage(await createImageBitmap(toBlob(mask)), 0, 0);
  legend.replaceChildren(...segments.map(row));
}

/** @param {import("../src/results.js").Segment} segment */
function row({ color, label, share }) {
  const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
  swatch.style.background = color;
  const item = document.createElement("li");
  item.append(swatch, `${label}: ${(100 * share).toFixed(1)} %`);
  return item;
}
