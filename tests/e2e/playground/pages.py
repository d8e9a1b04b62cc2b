"""What the tests do with a page of the playground, and what they see on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import ConsoleMessage, Error, Page, Request, ViewportSize

STATUS = "Failed to load resource"  # what the console says of each answer of 400 and above
WINDOW: ViewportSize = {"width": 1280, "height": 720}  # that of Playwright
Endpoint = Literal["Classify", "Segment", "Detect", "Explain", "Similarity"]


class Watched:
    """A page, and what it must not do: errors, broken policies, and requests to another host."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", self._fail)
        page.on("request", self._see)

    def open(self) -> None:
        """Go to the playground, and wait until it has loaded the models."""
        self.page.goto(self.address)
        self.page.get_by_role("radio", name="Classify").wait_for()

    def leave(self) -> None:
        """Leave the page as a new one is, without what a test has changed."""
        self.page.evaluate("() => sessionStorage.clear()")
        self.page.goto("about:blank")
        self.page.remove_listener("console", self._hear)
        self.page.remove_listener("pageerror", self._fail)
        self.page.remove_listener("request", self._see)
        self.page.unroute_all()
        self.page.context.clear_permissions()
        self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        self.page.set_viewport_size(WINDOW)
        self.page.mouse.move(0, 0)

    def _fail(self, error: Error) -> None:
        self.complaints.append(f"error: {error}")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(STATUS):
            self.complaints.append(f"console: {message.text}")

    def _see(self, request: Request) -> None:
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.complaints.append(f"request: {request.url}")


def choose_files(page: Page, files: Sequence[Path]) -> None:
    """Choose these files, as a user does in the dialog of the button."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files(list(files))


def choose_example(page: Page, name: str) -> None:
    """Take an example image."""
    page.get_by_role("button", name=f"Example: {name}", exact=True).click()


def choose(page: Page, endpoint: Endpoint) -> None:
    """Choose what to ask."""
    page.get_by_role("radio", name=endpoint, exact=True).check()


def await_answer(page: Page) -> None:
    """Wait until the page says that the service answered."""
    page.get_by_role("status").filter(has_text="Answered in").wait_for()


def painted(page: Page) -> dict[str, Any]:
    """Return the layer's size, the share of its pixels that are painted, and their colours, most frequent first."""
    found: dict[str, Any] = page.evaluate(
        """() => {
            const layer = document.getElementById("stage-layer");
            if (layer.hidden) return { width: 0, height: 0, share: 0, colours: [] };
            const { width, height } = layer;
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(layer, 0, 0);
            const data = copy.getImageData(0, 0, width, height).data;
            const counts = new Map();
            for (let at = 0; at < data.length; at += 4) {
                if (!data[at + 3]) continue;
                const colour = "#" + [0, 1, 2].map((i) => data[at + i].toString(16).padStart(2, "0")).join("");
                counts.set(colour, (counts.get(colour) ?? 0) + 1);
            }
            const sorted = [...counts].sort((one, other) => other[1] - one[1]);
            const all = sorted.reduce((sum, [, count]) => sum + count, 0);
            return { width, height, share: all / (width * height), colours: sorted.slice(0, 8).map(([name]) => name) };
        }"""
    )
    return found


def detect_unlikely(page: Page) -> None:
    """Detect objects in the example of a cat, down to a score of 0.05: the detector of the tests is not trained."""
    choose(page, "Detect")
    page.get_by_text("Options").click()
    page.get_by_role("spinbutton", name="Lowest score").fill("0.05")
    page.keyboard.press("Tab")
    choose_example(page, "a cat")
    await_answer(page)
