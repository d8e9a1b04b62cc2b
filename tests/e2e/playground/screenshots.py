"""Draw the screenshots of the documentation: `python -m tests.e2e.playground.screenshots`.

It starts the service with the built-in models, or uses one that runs, at `--address`.
"""

import argparse
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from service.host.processes import free_port
from tests.e2e.playground.pages import Endpoint, Watched, await_answer, choose, choose_example
from tests.e2e.running import running
from tests.laws.sources import ROOT

FOLDER = ROOT / "docs" / "images"
MODELS = "starter-classifier,starter-segmenter,starter-resnet-d,starter-detector"
WAIT_MS = 60_000
COLOURS, KEPT = 256, 56  # of the PNG; and of these, the colours of the page


class Shot(NamedTuple):
    """A screenshot: its name, the size of the window in pixels, the colour scheme, and what is asked."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]
    endpoint: Endpoint


SHOTS = (
    Shot("desktop", 1280, 860, "light", "Segment"),
    Shot("tablet", 820, 1180, "light", "Classify"),
    Shot("phone", 390, 844, "dark", "Explain"),
)


def take(browser: Browser, address: str, shot: Shot) -> bytes:
    """Return a screenshot as PNG."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme, locale="en"
    )
    context.set_default_timeout(WAIT_MS)
    watched = Watched(context.new_page(), address)
    watched.open()
    prepare(watched.page, shot)
    content = watched.page.screenshot()
    context.close()
    with Image.open(io.BytesIO(content)) as image:
        return reduced(image.convert("RGB"))


def reduced(image: Image.Image) -> bytes:
    """Return an indexed PNG: a photograph in full colours would be larger than 200 kB.

    The colours of the page, which are the most frequent ones, are kept as they are. The photograph shares the others.
    """
    counts: Any = image.getcolors(image.width * image.height)
    kept = [level for _, colour in sorted(counts, reverse=True)[:KEPT] for level in colour]
    shared = image.quantize(COLOURS - KEPT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*kept, *shared])
    out = io.BytesIO()
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def prepare(page: Page, shot: Shot) -> None:
    """Ask for the answer that the screenshot shows."""
    choose(page, shot.endpoint)
    choose_example(page, "a cat")
    await_answer(page)
    if shot.endpoint == "Classify":
        page.get_by_role("checkbox", name="starter-resnet-d").check()
        page.locator("#result-body section").nth(1).wait_for()
    if shot.endpoint == "Segment":
        box = page.locator("#stage-layer").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)


@contextmanager
def built_in_models() -> Iterator[str]:
    """Run the service with the built-in models; yield its address."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(ROOT / "model_store", Path(folder) / "run", port, "--models", MODELS) as service,
    ):
        service.await_ready()
        yield f"http://127.0.0.1:{port}"


def write(address: str) -> None:
    """Write all screenshots."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for shot in SHOTS:
            path = FOLDER / f"playground-{shot.name}.png"
            path.write_bytes(take(browser, address, shot))
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")  # noqa: T201 - a program
        browser.close()


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", help="address of a service that runs with the built-in models")
    address = parser.parse_args().address
    if address:
        write(address)
        return
    with built_in_models() as started:
        write(started)


if __name__ == "__main__":
    main()
