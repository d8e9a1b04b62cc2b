"""Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

WAIT_MS = 60_000  # a CI machine has two shared cores; an answer takes 50 ms on an idle one
BROWSER = shutil.which("chromium")
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser without the internet, with a camera that shows a test pattern.

    Skip the test if it is not installed. While it runs, no other event loop can run in this thread.
    """
    if BROWSER is None:
        pytest.skip("chromium is not installed (Debian's package of that name)")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", OFFLINE, *CAMERA]
        started = playwright.chromium.launch(executable_path=BROWSER, args=arguments, timeout=WAIT_MS)
        yield started
        started.close()
