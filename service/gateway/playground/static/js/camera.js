// Take a photo with the camera of this device.

import { byId, contextOf } from "./dom.js";

const QUALITY = 0.92; // of the JPEG

/**
 * Make the camera button take a photo: in a dialog where the browser gives a stream, or else with the system's camera.
 * @param {(files: File[]) => void} given
 */
export function watchCamera(given) {
  const dialog = byId("camera", HTMLDialogElement);
  const video = byId("camera-video", HTMLVideoElement);
  byId("take-photo", HTMLButtonElement).addEventListener("click", () => open(dialog, video));
  byId("camera-take", HTMLButtonElement).addEventListener("click", async () => {
    const file = await photoOf(video);
    dialog.close();
    given([file]);
  });
  byId("camera-cancel", HTMLButtonElement).addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    if (video.srcObject instanceof MediaStream) for (const track of video.srcObject.getTracks()) track.stop();
    video.srcObject = null;
  });
}

/**
 * @param {HTMLDialogElement} dialog
 * @param {HTMLVideoElement} video
 */
async function open(dialog, video) {
  const prefersSystem = window.matchMedia("(pointer: coarse)").matches;
  if (prefersSystem || !navigator.mediaDevices) {
    byId("capture-input", HTMLInputElement).click(); // a page without TLS gets no stream
    return;
  }
  const message = byId("camera-message", HTMLElement);
  const take = byId("camera-take", HTMLButtonElement);
  message.textContent = "Waiting for the camera …";
  take.disabled = true;
  dialog.showModal();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    if (!dialog.open) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    video.srcObject = stream;
    await video.play();
    message.textContent = "";
    take.disabled = false;
    take.focus();
  } catch (error) {
    message.textContent = `The camera cannot be used: ${error instanceof Error ? error.message : error}.`;
  }
}

/**
 * Return the current frame as a JPEG.
 * @param {HTMLVideoElement} video
 * @returns {Promise<File>}
 */
async function photoOf(video) {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  contextOf(canvas).drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
