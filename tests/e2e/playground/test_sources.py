"""Where images come from: the dialog, a drop, the clipboard, the camera; and files that a browser cannot show."""

import base64
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.playground.pages import await_answer, choose, choose_files, painted
from tests.e2e.test_answers import upload

pytestmark = pytest.mark.e2e

DROP = """([data, kind]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
    const options = { bubbles: true, cancelable: true };
    const event = kind === "paste"
        ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
        : new DragEvent(kind, { ...options, dataTransfer: transfer });
    (kind === "paste" ? document : document.querySelector("main")).dispatchEvent(event);
    return event.defaultPrevented;
}"""


def given(page: Page, kind: str) -> bool:
    """Drop or paste an image; return whether the page kept the browser from opening it."""
    return bool(page.evaluate(DROP, [base64.b64encode(upload(4, kind="PNG")).decode(), kind]))


def test_a_dropped_image_is_answered(page: Page) -> None:
    assert given(page, "dragover")
    expect(page.locator("body")).to_have_class("dropping")
    assert given(page, "drop")
    await_answer(page)

    expect(page.locator("#stage-image")).to_have_attribute("alt", "drop.png")
    expect(page.locator("body")).to_have_class("has-images")


def test_a_pasted_image_is_answered(page: Page) -> None:
    given(page, "paste")
    await_answer(page)

    expect(page.locator("#stage-image")).to_have_attribute("alt", "paste.png")


def test_pasted_text_is_left_to_the_field(page: Page) -> None:
    page.get_by_text("API key: none").click()
    page.evaluate("document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: new DataTransfer()}))")

    expect(page.locator("#stage")).to_be_hidden()


def test_a_photo_of_the_camera_is_answered_and_the_camera_is_switched_off(page: Page) -> None:
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_role("button", name="Take the photo").click()
    await_answer(page)

    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#stage-image")).to_have_attribute("alt", "camera.jpg")
    assert page.locator("#camera-video").evaluate("video => video.srcObject") is None


def test_a_camera_that_is_refused_says_so(page: Page) -> None:
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(Error('Permission denied')) }")
    page.get_by_role("button", name="Take a photo").click()

    expect(page.get_by_role("dialog")).to_contain_text("The camera cannot be used: Permission denied.")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_an_image_that_the_browser_cannot_show_is_answered_with_its_mask(page: Page, tmp_path: Path) -> None:
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "scan.tiff")
    choose(page, "Segment")
    choose_files(page, [tmp_path / "scan.tiff"])
    await_answer(page)

    expect(page.locator("#stage-note")).to_be_visible()
    expect(page.locator("#stage-image")).to_be_hidden()
    assert painted(page)["width"] == 256


def test_the_mask_of_a_sideways_photo_lies_upright(page: Page, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    Image.linear_gradient("L").resize((240, 120)).convert("RGB").save(tmp_path / "turned.jpg", exif=exif)
    choose(page, "Segment")
    choose_files(page, [tmp_path / "turned.jpg"])
    await_answer(page)

    assert (painted(page)["width"], painted(page)["height"]) == (120, 240)
    sides = page.locator("#stage-image").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert sides == [120, 240]


@pytest.mark.parametrize(("width", "height"), [(600, 60), (60, 600), (200, 200)])
def test_the_layer_covers_an_image_of_any_shape_exactly(width: int, height: int, page: Page, tmp_path: Path) -> None:
    tmp_path.joinpath("shape.png").write_bytes(upload(1, width, height, "PNG"))
    choose(page, "Segment")
    choose_files(page, [tmp_path / "shape.png"])
    await_answer(page)

    image, layer = (page.locator(f"#stage-{name}").bounding_box() for name in ("image", "layer"))
    assert image is not None
    assert layer == pytest.approx(image, abs=0.5)
    assert image["width"] / image["height"] == pytest.approx(width / height, rel=0.02)


def test_everything_is_cleared(page: Page) -> None:
    given(page, "paste")
    await_answer(page)
    page.get_by_role("button", name="Clear").click()

    expect(page.locator("#stage")).to_be_hidden()
    expect(page.locator("#more")).to_be_hidden()
    expect(page.get_by_text("Drop an image here")).to_be_visible()
    expect(page.get_by_role("button", name="Choose images")).to_be_focused()
