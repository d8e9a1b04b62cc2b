"""Faults while weights are installed: the store stays as it was."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from service.models import zoo
from service.models.cards import Network
from service.models.weights import checksums
from service.models.weights.checksums import WeightsError
from service.models.weights.download import UnavailableError
from service.models.weights.store import pull, pull_from_file, state
from tests.models.weights.checkpoints import CLASSES, State, Trap, pth, zipped
from tests.models.weights.conftest import HASTY, full_disk, unseen, visible
from tests.models.weights.misbehaving import Server
from tests.models.weights.publishing import offered, prefix, published, write_card

BROKEN = {
    "404": "answered 404 Not Found",
    "cut-without-ranges": "ended after",
    "silent": "sent nothing",
    "page": "is not the published one: its sha256 begins with .*; it is a web page",
    "other-bytes": "is not the published one: its sha256 begins with",
    "short-length": "is not the published one",
}


@pytest.mark.parametrize("behaviour", BROKEN)
def test_a_server_that_fails_leaves_the_store_as_it_was(server: Server, store: Path, behaviour: str) -> None:
    data = pth({"fc.bias": torch.ones(CLASSES)})
    offered(server, data)
    model = write_card(store, (server.url(behaviour), prefix(data)))
    before = visible(model.folder.parent)
    why = rf"(?s)^{model.name}: no URL served the file:.*{BROKEN[behaviour]}"
    with pytest.raises(UnavailableError, match=why) as raised:
        pull(model, replace(HASTY, attempts=1), unseen, unseen)
    assert f"install it: resnest-service models import FILE --name {model.name}" in str(raised.value)
    assert visible(model.folder.parent) == before
    assert state(model) == ("begun" if behaviour == "cut-without-ranges" else "absent")
    assert zoo.read_all(model.folder.parent) == {}


def test_a_download_that_was_begun_goes_on_at_the_next_pull(server: Server, store: Path, weights_of: State) -> None:
    data = pth(weights_of)
    offered(server, data)
    model = write_card(store, (server.url("cut"), prefix(data)))
    with pytest.raises(UnavailableError, match="ended after"):
        pull(model, replace(HASTY, attempts=1), unseen, unseen)
    assert state(model) == "begun"
    assert pull(model, replace(HASTY, attempts=99), unseen, unseen)
    assert server.requests[1] == ("/cut/file", f"bytes={len(data) // 2}-")


def test_nothing_is_unpickled_before_the_checksum_is_right(server: Server, store: Path, tmp_path: Path) -> None:
    url = offered(server, pth({"extra": Trap(tmp_path / "sprung")}))
    model = write_card(store, (url, {"sha256": "0" * 8}))
    with pytest.raises(UnavailableError, match=r"begins with [0-9a-f]{8}, not 00000000"):
        pull(model, HASTY, unseen, unseen)
    assert not (tmp_path / "sprung").exists()


UNFIT: dict[str, tuple[Callable[[State, Path], Any], str]] = {
    "code": (lambda s, sprung: {**s, "extra": Trap(sprung)}, "holds more than tensors"),
    "other keys": (lambda s, _: {**s, "extra": torch.ones(1)}, r"unexpected \(extra\)"),
    "too few keys": (lambda s, _: {"fc.bias": s["fc.bias"]}, "missing"),
    "no weights": (lambda s, _: [1, 2], "values that are not tensors"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_published_file_that_does_not_fit_leaves_the_store_as_it_was(
    server: Server, store: Path, weights_of: State, tmp_path: Path, what: str
) -> None:
    make, message = UNFIT[what]
    model = published(server, store, pth(make(weights_of, tmp_path / "sprung")))
    before = visible(model.folder.parent)
    with pytest.raises(
        WeightsError, match=rf"^{model.name}: the file from {server.url('whole')} is unusable: .*{message}"
    ):
        pull(model, HASTY, unseen, unseen)
    assert not (tmp_path / "sprung").exists()
    assert visible(model.folder.parent) == before
    assert state(model) == "absent"


def test_a_network_of_timm_without_timm_is_told_before_anything_is_fetched(
    store: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    model = published(server, store, b"weights")
    of_timm = model.model_copy(update={"network": Network(name="skresnet18", library="timm", classes=CLASSES)})
    with pytest.raises(WeightsError, match=rf"^{model.name}: skresnet18 needs timm, .*resnest-service\[timm\]"):
        pull(of_timm, HASTY, unseen, unseen)
    assert server.requests == []


def test_a_damaged_zip_is_told_and_leaves_the_store_as_it_was(server: Server, store: Path) -> None:
    data = zipped(model__pth=b"weights" * 100)
    offered(server, data[:45] + b"\xff" + data[46:])
    model = write_card(store, (server.url("whole"), {"sha1": "0" * 40}))
    before = visible(model.folder.parent)
    with pytest.raises(UnavailableError, match="is not the published one: the zip cannot be read"):
        pull(model, HASTY, unseen, unseen)
    assert visible(model.folder.parent) == before
    assert state(model) == "absent"


def test_a_disk_that_fills_up_while_a_zip_is_unpacked_costs_nothing_that_was_fetched(
    server: Server, store: Path, weights_of: State
) -> None:
    checkpoint = pth(weights_of)
    data = zipped(model__pth=checkpoint)
    assert 2 * len(data) < len(checkpoint)
    digest = hashlib.sha1(checkpoint, usedforsecurity=False).hexdigest()
    model = write_card(store, (offered(server, data), {"sha1": digest}))
    with full_disk(2 * len(data)), pytest.raises(WeightsError, match=r"weights cannot be written: File too") as caught:
        pull(model, HASTY, unseen, unseen)
    assert not isinstance(caught.value, UnavailableError)
    assert state(model) == "begun"
    assert [path.name for path in model.weights_path.parent.iterdir() if "unpacked" in path.name] == []
    assert pull(model, HASTY, unseen, unseen)
    assert server.requests == [("/whole/file", None), ("/whole/file", f"bytes={len(data)}-")]


def test_a_disk_without_room_is_told_and_leaves_the_store_as_it_was(
    server: Server, store: Path, weights_of: State
) -> None:
    model = published(server, store, pth(weights_of))
    with pytest.raises(WeightsError, match="has 1,000 bytes of free space"):
        pull(model, replace(HASTY, free_bytes=lambda _: 1000), unseen, unseen)
    assert state(model) == "absent"


def test_a_store_that_cannot_be_written_is_told(server: Server, store: Path, weights_of: State) -> None:
    model = published(server, store, pth(weights_of))
    (model.folder / "weights").write_text("in the way", encoding="utf-8")
    with pytest.raises(WeightsError, match=rf"^{model.name}: .*weights: File exists"):
        pull(model, HASTY, unseen, unseen)


def test_a_model_that_is_published_nowhere_cannot_be_pulled(store: Path) -> None:
    model = write_card(store, sha256="0" * 64)
    assert state(model) == "missing"
    with pytest.raises(WeightsError, match="have no source to pull from"):
        pull(model, HASTY, unseen, unseen)


KILLED = """
import os, sys
from pathlib import Path
from service.models import cards, zoo
from service.models.weights.store import pull_from_file

folder, file, steps = sys.argv[1:]
card = cards.read(Path(folder))
ahead = int(steps)

def kill(event, arguments):
    global ahead
    if event in ("os.remove", "os.rename") and str(card.weights_path) in " ".join(map(str, arguments)):
        ahead -= 1
        if ahead < 0:
            os._exit(9)

sys.addaudithook(kill)
pull_from_file(card, Path(file), print)
"""


@pytest.mark.parametrize("steps", [0, 1])
def test_a_process_that_is_killed_among_the_files_that_it_replaces_leaves_sound_weights(
    store: Path, weights_of: State, tmp_path: Path, steps: int
) -> None:
    file = tmp_path / "published.pth"
    file.write_bytes(pth(weights_of))
    model = write_card(store, ("http://checksums.example/file", prefix(file.read_bytes())))
    pull_from_file(model, file, unseen)
    before = visible(model.folder)
    killed = subprocess.run([sys.executable, "-c", KILLED, model.folder, file, str(steps)], check=False)
    assert killed.returncode == 9
    checksums.verify(model)
    assert visible(model.folder) == before
    pull_from_file(model, file, unseen)
    assert visible(model.folder) == before
