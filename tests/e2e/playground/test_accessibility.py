"""Everyone can use the playground: axe-core finds nothing serious, and the keyboard alone is enough."""

import re
from pathlib import Path
from typing import Literal, get_args

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.playground.pages import Endpoint, await_answer, choose, choose_example, choose_files
from tests.e2e.running import Running
from tests.e2e.test_typescript_client import PROJECT

pytestmark = pytest.mark.e2e

AXE = PROJECT / "node_modules" / "axe-core" / "axe.min.js"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
RUN = "() => axe.run(document, { resultTypes: ['violations'] })"
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="needs the packages of `npm ci --prefix tests/e2e/typescript`")


def findings(page: Page) -> list[str]:
    """Return what axe-core finds on the page, of any severity."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    violations = page.evaluate(RUN)["violations"]
    return [f"{each['impact']} {each['id']}: {node['html']}" for each in violations for node in each["nodes"]]


@needs_axe
def test_axe_finds_what_is_wrong(page: Page) -> None:
    page.evaluate("() => document.querySelector('main').append(document.createElement('img'))")

    assert [finding for finding in findings(page) if finding.startswith("critical image-alt: <img")]


def unfold(page: Page) -> None:
    """Open everything that is folded."""
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true })")


def findings_by_scheme(page: Page) -> dict[str, list[str]]:
    """Return what axe-core finds in each colour scheme."""
    found: dict[str, list[str]] = {}
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found[scheme] = findings(page)
    return found


@needs_axe
@pytest.mark.parametrize("endpoint", ["nothing", *get_args(Endpoint)])
def test_axe_finds_nothing_in_either_colour_scheme(endpoint: Endpoint, page: Page) -> None:
    if endpoint != "nothing":  # type: ignore[comparison-overlap]
        choose(page, endpoint)
        choose_example(page, "a cat")
        await_answer(page)
    unfold(page)

    assert findings_by_scheme(page) == {scheme: [] for scheme in SCHEMES}


@needs_axe
def test_axe_finds_nothing_in_a_problem_in_either_colour_scheme(page: Page, tmp_path: Path) -> None:
    tmp_path.joinpath("notes.jpg").write_bytes(b"These are notes, and no image.")
    choose_files(page, [tmp_path / "notes.jpg"])
    page.locator(".problem").wait_for()

    assert findings_by_scheme(page) == {scheme: [] for scheme in SCHEMES}


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    press(page, "Tab", lambda: focused(page) == "Example: a cat")
    page.keyboard.press("Enter")
    await_answer(page)
    press(page, "Tab", lambda: page.evaluate("document.activeElement.name") == "endpoint")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Segment", exact=True)).to_be_checked()
    page.locator(".legend").wait_for()
    press(page, "Tab", lambda: bool(page.evaluate("document.activeElement.closest('.legend') !== null")))
    page.keyboard.press("Space")

    expect(page.locator(".legend").get_by_role("checkbox").first).not_to_be_checked()


def focused(page: Page) -> str:
    """Return the name of the element with the focus."""
    script = "document.activeElement.querySelector('img')?.alt ?? document.activeElement.textContent"
    return str(page.evaluate(script))


def press(page: Page, key: str, reached: object, most: int = 40) -> None:
    """Press a key until something is reached."""
    assert callable(reached)
    for _ in range(most):
        page.keyboard.press(key)
        if reached():
            return
    raise AssertionError(f"not reached with {most} times {key}")


def test_the_first_key_leads_past_the_form_to_the_result(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the result")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator("#result")).to_be_focused()


def test_a_screen_reader_reads_the_state_and_the_labels(page: Page) -> None:
    choose_example(page, "a cat")

    expect(page.get_by_role("status").first).to_have_text(re.compile(r"^Answered in \d+ ms\.$"))
    bars = page.get_by_role("region", name="Result").get_by_role("listitem")
    expect(bars).to_have_count(5)
    expect(bars.first).to_have_text(re.compile(r"^\w+\d+\.\d %$"))


@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_no_width_needs_to_be_scrolled_sideways(width: int, browser: Browser, playground: Running) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, base_url=str(playground.client.base_url))
    page = context.new_page()
    try:
        page.goto("/")
        choose(page, "Segment")
        choose_example(page, "a cat")
        await_answer(page)
        unfold(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".legend").evaluate("list => list.scrollWidth <= list.clientWidth")
    finally:
        context.close()
