"""Registering and unregistering models by the management API, here of a small server with its replies."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from service.host.processes import free_port
from service.host.served_models.model_server import ModelServer, ModelServerError
from service.models import cards
from service.models.cards import ModelCard
from tests.stores import serving, write_store


class Handler(BaseHTTPRequestHandler):
    """Replies with the next status and message, and notes the requests."""

    replies: list[tuple[int, object]]
    seen: list[str]

    def reply(self) -> None:
        self.seen.append(f"{self.command} {self.path}")
        status, body = self.replies.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    do_POST = do_DELETE = do_GET = reply  # noqa: N815 - names of the base class

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def handler() -> type[Handler]:
    return type("Handler", (Handler,), {"replies": [], "seen": []})


@pytest.fixture
def server(handler: type[Handler]) -> Iterator[ModelServer]:
    http = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield ModelServer(f"http://127.0.0.1:{http.server_address[1]}")
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    found = cards.read(write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier")
    return serving(found, workers=2).model_copy(update={"registered_as": "tiny-classifier@1.0.2"})


def test_a_model_is_registered_under_its_server_name_with_a_follower_for_each_worker(
    server: ModelServer, handler: type[Handler], card: ModelCard
) -> None:
    handler.replies.append((202, {}))
    server.register(card)
    assert handler.seen == [
        "POST /models?url=tiny-classifier@1.0.2&model_name=tiny-classifier@1.0.2&initial_workers=4&synchronous=false"
    ]


def test_a_refusal_is_told_in_the_servers_words(server: ModelServer, handler: type[Handler], card: ModelCard) -> None:
    handler.replies += [(409, {"message": "it is registered already"}), (500, {"message": "timeout"})]
    with pytest.raises(ModelServerError, match=r"^tiny-classifier: .* register it: it is registered already$"):
        server.register(card)
    with pytest.raises(ModelServerError, match=r"^tiny-classifier: .* remove it: timeout$"):
        server.unregister(card)


def test_a_model_that_is_not_registered_is_removed_already(
    server: ModelServer, handler: type[Handler], card: ModelCard
) -> None:
    handler.replies += [(200, {}), (404, {})]
    server.unregister(card)
    server.unregister(card)
    assert handler.seen == 2 * ["DELETE /models/tiny-classifier@1.0.2"]


def test_a_model_is_ready_with_all_its_processes(server: ModelServer, handler: type[Handler], card: ModelCard) -> None:
    ready = {"status": "READY"}
    handler.replies += [
        (200, [{"minWorkers": 2, "workers": workers}]) for workers in ([ready, {"status": "UNLOADED"}], [ready, ready])
    ]
    assert server.unready([card]) == ["tiny-classifier"]
    assert server.unready([card]) == []


def test_a_server_that_does_not_answer_is_told(card: ModelCard) -> None:
    with pytest.raises(ModelServerError, match=r"it does not answer$"):
        ModelServer(f"http://127.0.0.1:{free_port()}").register(card)
