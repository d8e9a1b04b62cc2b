"""A real service of tiny models of each task, and pages of its playground in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from service.host.processes import free_port
from tests.e2e.chromium import WAIT_MS, chromium
from tests.e2e.playground.pages import Watched
from tests.e2e.running import Running, running
from tests.stores import rename_model, write_store

SECOND, SECOND_DETECTOR = "tiny-segmenter-b", "tiny-detector-b"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser without the internet, with a camera that shows a test pattern.

    It ends with the tests of this folder: while Playwright runs, no other event loop can run in this thread.
    """
    with chromium() as started:
        yield started


@pytest.fixture(scope="package")
def playground_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two classifiers, two segmenters and two detectors."""
    store = write_store(tmp_path_factory.mktemp("playground"))
    smaller = {"size": 96, "short": 64}
    for name, second, sides in (("tiny-segmenter", SECOND, {"size": 48}), ("tiny-detector", SECOND_DETECTOR, smaller)):
        other = write_store(tmp_path_factory.mktemp("other"), name, changes={"input": sides})
        rename_model(other / name, store / second)
    return store


@pytest.fixture(scope="package")
def playground(playground_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A ready service of them."""
    with running(playground_store, tmp_path_factory.mktemp("playground-run"), free_port()) as started:
        started.await_ready()
        yield started


@pytest.fixture
def context(browser: Browser, playground: Running) -> Iterator[BrowserContext]:
    """A window that forgets everything at the end."""
    made = browser.new_context(base_url=str(playground.client.base_url), accept_downloads=True, locale="en")
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


@pytest.fixture(scope="package")
def tab(browser: Browser, playground: Running) -> Iterator[Page]:
    """One window for all tests of this folder: to open another one takes 0.5 s of a core."""
    made = browser.new_page(base_url=str(playground.client.base_url), accept_downloads=True, locale="en")
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


@pytest.fixture
def watched(tab: Page, playground: Running) -> Iterator[Watched]:
    """A page of the playground. At the end it must have had no error, and no request to another host."""
    made = Watched(tab, str(playground.client.base_url))
    made.open()
    yield made
    made.leave()
    assert made.complaints == []


@pytest.fixture
def page(watched: Watched) -> Page:
    """The same as Playwright's page."""
    return watched.page
