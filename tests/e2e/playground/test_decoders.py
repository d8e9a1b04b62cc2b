"""The modules that read masks agree with the libraries that write them, in a real browser."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from pycocotools import mask as coco

from service.imaging import masks
from tests.e2e.chromium import WAIT_MS
from tests.e2e.playground.pages import Watched
from tests.e2e.running import Running

pytestmark = pytest.mark.e2e

CALL = """async ([name, call, argument]) => {
    const main = document.querySelector('script[type="module"]').src;
    const module = await import(new URL(name, main).href);
    const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    try {
        const found = await module[call](typeof argument === "string" ? bytes(argument) : argument);
        return found.ids ? [found.width, found.height, [...found.ids]] : [...found];
    } catch (error) {
        return `${error.name}: ${error.message}`;
    }
}"""

RUNS, PNG = ("decode/rle.js", "decodeRuns"), ("decode/png.js", "decodeIndexedPng")


@pytest.fixture(scope="module")
def page(browser: Browser, playground: Running) -> Iterator[Page]:
    """One page for all tests of this file: a call changes nothing on it, and to open a page takes a second."""
    made = browser.new_page(base_url=str(playground.client.base_url))
    made.set_default_timeout(WAIT_MS)
    watched = Watched(made, str(playground.client.base_url))
    watched.open()
    yield made
    made.close()
    assert watched.complaints == []


def call(page: Page, function: tuple[str, str], argument: Any) -> Any:
    return page.evaluate(CALL, [*function, argument])


def drawn(kind: str, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a mask of zeros and ones: noise, an ellipse, all, or nothing."""
    if kind == "noise":
        return np.random.default_rng(height).integers(0, 2, (height, width), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows / height - 0.5) ** 2 + (columns / width - 0.5) ** 2) < {"all": 9, "nothing": -1}.get(kind, 0.2)
    found: npt.NDArray[np.uint8] = inside.astype(np.uint8)
    return found


@pytest.mark.parametrize("kind", ["noise", "ellipse", "all", "nothing"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 90), (300, 451)])
def test_run_lengths_are_read_as_pycocotools_writes_them(kind: str, height: int, width: int, page: Page) -> None:
    mask = drawn(kind, height, width)
    runs = coco.encode(np.asfortranarray(mask))

    found = call(page, RUNS, {"size": runs["size"], "counts": runs["counts"].decode()})

    assert found == mask.ravel().tolist()


@pytest.mark.parametrize(
    ("counts", "message"),
    [("", "do not fill"), ("1", "do not fill"), ("99", "do not fit"), ("P", "cut off"), ("\u00e9", "invalid")],
)
def test_run_lengths_that_do_not_fit_are_an_error(counts: str, message: str, page: Page) -> None:
    found = call(page, RUNS, {"size": [2, 3], "counts": counts})

    assert isinstance(found, str)
    assert found.startswith("RangeError")
    assert message in found


@pytest.mark.parametrize("classes", [2, 4, 16, 200])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 47), (200, 300)])
def test_class_ids_are_read_as_the_service_writes_them(classes: int, height: int, width: int, page: Page) -> None:
    rows, columns = np.mgrid[:height, :width]
    mask = ((rows // 5 + columns // 7) % classes).astype(np.uint8)
    palette = [(index, 255 - index, index // 2) for index in range(classes)]

    found = call(page, PNG, base64.b64encode(masks.png(mask, palette)).decode())

    assert found == [width, height, mask.ravel().tolist()]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_class_ids_of_a_png_with_several_pixels_a_byte_are_read(bits: int, page: Page) -> None:
    ids = np.random.default_rng(bits).integers(0, 2**bits, (21, 29), dtype=np.uint8)
    image = Image.fromarray(ids, "P") if bits == 8 else Image.fromarray(ids).convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette([level for index in range(2**bits) for level in (index, 0, index)])
    out = io.BytesIO()
    image.save(out, "PNG", bits=bits)

    assert call(page, PNG, base64.b64encode(out.getvalue()).decode()) == [29, 21, ids.ravel().tolist()]


@pytest.mark.parametrize("mode", ["RGB", "L", "no PNG"])
def test_another_file_is_an_error(mode: str, page: Page) -> None:
    out = io.BytesIO(b"This is no image.")
    if mode != "no PNG":
        Image.new(mode, (4, 4)).save(out, "PNG")

    assert "PNG" in call(page, PNG, base64.b64encode(out.getvalue()).decode())
