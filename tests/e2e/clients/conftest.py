"""A real service of tiny models of each task, which pages of one other origin may call."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from service.host.processes import free_port
from tests.e2e.chromium import WAIT_MS, chromium
from tests.e2e.running import Running, running
from tests.e2e.test_answers import upload
from tests.laws.sources import ROOT
from tests.stores import write_store


class Quiet(SimpleHTTPRequestHandler):
    """Serves the files of a folder, and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="package")
def origin() -> Iterator[str]:
    """The origin of a site with the files of the JavaScript client."""
    folder = str(ROOT / "clients" / "javascript")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="package")
def grpc_port() -> int:
    """The port on which the service listens for gRPC."""
    return free_port()


@pytest.fixture(scope="package")
def asked(origin: str, grpc_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A ready service in single precision, in which a mask and its confidence are computed alike."""
    store = write_store(tmp_path_factory.mktemp("asked"), changes={"serving": {"precision": "fp32"}})
    folder = tmp_path_factory.mktemp("asked-run")
    with running(store, folder, free_port(), RESNEST_CORS_ORIGINS=origin, RESNEST_GRPC_PORT=str(grpc_port)) as started:
        started.await_ready()
        yield started


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with `photo.jpg` and, in `photos`, two images and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    tmp_path.joinpath("photo.jpg").write_bytes(upload(1))
    folder.joinpath("a.jpg").write_bytes(upload(2))
    folder.joinpath("b.png").write_bytes(b"no image")
    folder.joinpath("c.png").write_bytes(upload(3, kind="PNG"))
    return tmp_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, for the tests of one file: those of others run event loops."""
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that had no error at the end."""
    context = browser.new_context()
    context.set_default_timeout(WAIT_MS)
    made = context.new_page()
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    yield made
    context.close()
    assert errors == []
