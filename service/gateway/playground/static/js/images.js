// The images that the user gave, from whichever source, and the strip that shows them.

import { byId, element } from "./dom.js";

/** @typedef {{ file: File, url: string }} Upload */

/**
 * Call `given` with the files of every source of the page: input, camera of a phone, drop, paste and examples. Call
 * `failed` if an example cannot be loaded.
 * @param {(files: File[]) => void} given
 * @param {(problem: import("./service.js").Problem) => void} failed
 */
export function watchSources(given, failed) {
  for (const id of ["file-input", "capture-input"]) {
    const input = byId(id, HTMLInputElement);
    input.addEventListener("change", () => {
      given([...(input.files ?? [])]);
      input.value = ""; // so that the same file may be chosen again
    });
  }
  byId("choose", HTMLButtonElement).addEventListener("click", () => byId("file-input", HTMLInputElement).click());
  watchDrops(given);
  document.addEventListener("paste", (event) => {
    const files = imagesOf(event.clipboardData);
    if (files.length) given(files);
  });
  for (const button of document.querySelectorAll("button[data-example]")) {
    button.addEventListener("click", async () => {
      const image = button.querySelector("img");
      if (!image) return;
      try {
        given([await fetchExample(image.src)]);
      } catch (error) {
        const detail = `Reload the page: the service may have been updated, or may be away (${error}).`;
        failed({ type: "", title: "The example cannot be loaded", status: 0, detail, code: "no_example" });
      }
    });
  }
}

/** @param {(files: File[]) => void} given */
function watchDrops(given) {
  const zone = document.body;
  /** @type {(event: DragEvent) => boolean} */
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
  zone.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    zone.classList.add("dropping");
  });
  zone.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) zone.classList.remove("dropping");
  });
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("dropping");
    if (!hasFiles(event)) return;
    event.preventDefault();
    given([...(event.dataTransfer?.files ?? [])]);
  });
}

/**
 * Return the files of a clipboard. Text is none.
 * @param {DataTransfer | null} clipboard
 */
function imagesOf(clipboard) {
  return [...(clipboard?.files ?? [])];
}

/**
 * @param {string} url
 * @returns {Promise<File>}
 */
async function fetchExample(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`status ${response.status}`);
  const blob = await response.blob();
  return new File([blob], url.slice(url.lastIndexOf("/") + 1), { type: blob.type });
}

/**
 * Return uploads of these files, each with an address for its preview.
 * @param {readonly File[]} files
 * @returns {Upload[]}
 */
export function uploadsOf(files) {
  return files.map((file) => ({ file, url: URL.createObjectURL(file) }));
}

/**
 * Release the previews.
 * @param {readonly Upload[]} uploads
 */
export function release(uploads) {
  for (const upload of uploads) URL.revokeObjectURL(upload.url);
}

/**
 * Show a button for each of several images.
 * @param {readonly Upload[]} uploads
 * @param {number} selected
 * @param {readonly (string | null)[]} captions what is known of each
 * @param {(index: number) => void} select
 */
export function showStrip(uploads, selected, captions, select) {
  const strip = byId("strip", HTMLElement);
  const held = document.activeElement instanceof HTMLElement && strip.contains(document.activeElement);
  strip.hidden = uploads.length < 2;
  const buttons = uploads.map((upload, index) => {
    const caption = captions[index] ?? "";
    const button = element(
      "button",
      { type: "button", className: "thumbnail", "aria-pressed": index === selected },
      element("img", { src: upload.url, alt: "" }),
      element("span", {}, caption || upload.file.name),
    );
    button.title = upload.file.name;
    button.setAttribute("aria-label", `Image ${index + 1}, ${upload.file.name}${caption ? `: ${caption}` : ""}`);
    button.addEventListener("click", () => select(index));
    return button;
  });
  strip.replaceChildren(...buttons);
  if (held) buttons[selected]?.focus();
}
