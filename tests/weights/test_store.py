"""Weights into the store and out of it: what is there afterwards, whatever went wrong."""

import hashlib
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from service import cards, engines, weights
from service.cards import CardError, ModelCard
from service.weights import WeightsError
from service.weights.download import UnavailableError
from service.weights.store import pull, remove, state, take
from tests.stores import write_store
from tests.weights.checkpoints import CLASSES, State, Trap, made_state, openmmlab, parallel, pth, safe, zipped
from tests.weights.conftest import HASTY, visible
from tests.weights.misbehaving import Server


def unseen(*_: Any) -> None:
    """Progress and notices that nobody looks at."""


@pytest.fixture(scope="module")
def weights_of() -> State:
    return made_state()


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., ModelCard]:
    """A card whose weights are to be pulled from these sources, (url, checksum, key profile) each."""

    def make(*sources: tuple[str, dict[str, str]], **fields: Any) -> ModelCard:
        folder = write_store(tmp_path / "store", "tiny-classifier-b", weights=False) / "tiny-classifier-b"
        text = (folder / "card.toml").read_text(encoding="utf-8")
        head, _, rest = text.partition("[weights]\n")
        tables = [f"{key} = {value!r}" for key, value in {"file": "weights/tiny.safetensors", **fields}.items()]
        for url, more in sources:
            described = {"urls": [url], **more}
            tables += ["[[weights.sources]]", *(f"{key} = {value!r}" for key, value in described.items())]
        after = rest.partition("\n[")
        written = "\n".join([head + "[weights]", *tables]) + after[1] + after[2]
        (folder / "card.toml").write_text(written, encoding="utf-8")
        return cards.read(folder)

    return make


Make = Callable[..., ModelCard]


def prefix(data: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(data).hexdigest()[:8]}


def offered(server: Server, data: bytes, name: str = "file") -> str:
    server.files[name] = data
    return server.url("whole", name)


def published(server: Server, make: Make, data: bytes, **more: str) -> ModelCard:
    """A card of this file at an address that works."""
    return make((offered(server, data), {**prefix(data), **more}))


FORMS: dict[str, Callable[[State], tuple[bytes, dict[str, str]]]] = {
    "as the authors publish it": lambda s: (data := pth(s, legacy=True), prefix(data)),
    "as torch.save writes it today": lambda s: (data := pth(s), prefix(data)),
    "in a zip, with the checkpoint's SHA-1": lambda s: (
        zipped(model__pth=(data := pth(s, legacy=True))),
        {"sha1": hashlib.sha1(data, usedforsecurity=False).hexdigest(), "profile": "encoding"},
    ),
    "in OpenMMLab's layout": lambda s: (
        data := pth({"meta": {}, "state_dict": openmmlab(s)}),
        {**prefix(data), "profile": "openmmlab"},
    ),
    "of DataParallel": lambda s: (data := pth(parallel(s)), prefix(data)),
    "as safetensors": lambda s: (data := safe(s), prefix(data)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_published_checkpoint_becomes_weights_that_can_be_served(
    server: Server, card: Make, weights_of: State, form: str
) -> None:
    data, described = FORMS[form](weights_of)
    model = card((offered(server, data), described))
    assert state(model) == "absent"
    assert pull(model, HASTY, unseen, unseen)
    assert state(model) == "ready"
    found = safetensors.torch.load_file(model.weights_path)
    assert all(torch.equal(found[key], value) for key, value in weights_of.items())
    assert list(cards.read_all(model.folder.parent)) == [model.name]
    assert sorted(path.name for path in model.weights_path.parent.iterdir()) == [
        ".lock",
        "tiny.safetensors",
        "tiny.safetensors.sha256",
    ]


def test_pulled_weights_are_loaded_by_the_engine(server: Server, card: Make, weights_of: State) -> None:
    model = published(server, card, pth(weights_of))
    pull(model, HASTY, unseen, unseen)
    assert callable(engines.load(model, "cpu"))


def test_the_record_is_what_sha256sum_checks(server: Server, card: Make, weights_of: State) -> None:
    model = published(server, card, pth(weights_of))
    pull(model, HASTY, unseen, unseen)
    told = model.record_path.read_text(encoding="utf-8")
    assert told.splitlines()[0] == f"# made of {server.url('whole')}"
    subprocess.run(["sha256sum", "--check", "--strict", model.record_path], cwd=model.record_path.parent, check=True)


def test_weights_that_are_here_and_sound_are_not_fetched(server: Server, card: Make, weights_of: State) -> None:
    model = published(server, card, pth(weights_of))
    pull(model, HASTY, unseen, unseen)
    before = model.weights_path.stat()
    assert not pull(model, HASTY, unseen, unseen)
    assert len(server.asked) == 1
    assert model.weights_path.stat() == before


def test_weights_that_were_changed_are_told_and_fetched_again(server: Server, card: Make, weights_of: State) -> None:
    model = published(server, card, pth(weights_of))
    pull(model, HASTY, unseen, unseen)
    whole = model.weights_path.read_bytes()
    model.weights_path.write_bytes(whole[:-1] + b"\0")
    with pytest.raises(CardError, match="it was pulled with"):
        weights.verify(model)
    assert pull(model, HASTY, unseen, unseen)
    assert model.weights_path.read_bytes() == whole


def test_the_next_source_is_tried_where_one_is_gone(server: Server, card: Make, weights_of: State) -> None:
    theirs = pth({"state_dict": openmmlab(weights_of)})
    first = (server.url("404"), {"sha256": "0" * 8})
    model = card(first, (offered(server, theirs), {**prefix(theirs), "profile": "openmmlab"}))
    assert pull(model, HASTY, unseen, unseen)
    assert server.url("whole") in model.record_path.read_text(encoding="utf-8")


def test_weights_of_a_card_with_their_own_checksum_are_taken_as_they_are(
    server: Server, card: Make, weights_of: State
) -> None:
    data = safe(weights_of)
    model = card(urls=[offered(server, data)], sha256=hashlib.sha256(data).hexdigest())
    assert pull(model, HASTY, unseen, unseen)
    assert model.weights_path.read_bytes() == data
    assert not model.record_path.exists()


BROKEN = {
    "404": "answered 404 Not Found",
    "cut-without-ranges": "ended after",
    "silent": "was silent",
    "page": "is not the published one: its sha256 begins with .*; it is a web page",
    "other-bytes": "is not the published one: its sha256 begins with",
    "short-length": "is not the published one",
}


@pytest.mark.parametrize("behaviour", BROKEN)
def test_a_server_that_fails_leaves_the_store_as_it_was(server: Server, card: Make, behaviour: str) -> None:
    data = pth({"fc.bias": torch.ones(CLASSES)})
    offered(server, data)
    model = card((server.url(behaviour), prefix(data)))
    before = visible(model.folder.parent)
    with pytest.raises(UnavailableError, match=rf"(?s)^{model.name}: no address gave the file:.*{BROKEN[behaviour]}"):
        pull(model, replace(HASTY, rounds=1), unseen, unseen)
    assert visible(model.folder.parent) == before
    assert state(model) == ("begun" if behaviour == "cut-without-ranges" else "absent")
    assert cards.read_all(model.folder.parent) == {}


def test_a_download_that_was_begun_goes_on_at_the_next_pull(server: Server, card: Make, weights_of: State) -> None:
    data = pth(weights_of)
    offered(server, data)
    model = card((server.url("cut"), prefix(data)))
    with pytest.raises(UnavailableError, match="ended after"):
        pull(model, replace(HASTY, rounds=1), unseen, unseen)
    assert state(model) == "begun"
    assert pull(model, replace(HASTY, rounds=99), unseen, unseen)
    assert server.asked[1] == ("/cut/file", f"bytes={len(data) // 2}-")


def test_nothing_is_unpickled_before_the_checksum_is_right(server: Server, card: Make, tmp_path: Path) -> None:
    url = offered(server, pth({"extra": Trap(tmp_path / "sprung")}))
    model = card((url, {"sha256": "0" * 8}))
    with pytest.raises(UnavailableError, match=r"begins with [0-9a-f]{8}, not 00000000"):
        pull(model, HASTY, unseen, unseen)
    assert not (tmp_path / "sprung").exists()


UNFIT: dict[str, tuple[Callable[[State, Path], Any], str]] = {
    "code": (lambda s, sprung: {**s, "extra": Trap(sprung)}, "holds more than tensors"),
    "other keys": (lambda s, _: {**s, "extra": torch.ones(1)}, r"unexpected \(extra\)"),
    "too few keys": (lambda s, _: {"fc.bias": s["fc.bias"]}, "missing"),
    "no weights": (lambda s, _: [1, 2], "other things than weights"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_published_file_that_does_not_fit_leaves_the_store_as_it_was(
    server: Server, card: Make, weights_of: State, tmp_path: Path, what: str
) -> None:
    make, told = UNFIT[what]
    model = published(server, card, pth(make(weights_of, tmp_path / "sprung")))
    before = visible(model.folder.parent)
    with pytest.raises(WeightsError, match=rf"^{model.name}: .*{told}"):
        pull(model, HASTY, unseen, unseen)
    assert not (tmp_path / "sprung").exists()
    assert visible(model.folder.parent) == before


def test_a_damaged_zip_is_told_and_leaves_the_store_as_it_was(server: Server, card: Make) -> None:
    data = zipped(model__pth=b"weights" * 100)
    offered(server, data[:45] + b"\xff" + data[46:])
    model = card((server.url("whole"), {"sha1": "0" * 40}))
    with pytest.raises(UnavailableError, match="is not the published one: the zip cannot be read"):
        pull(model, HASTY, unseen, unseen)
    assert visible(model.folder) == visible(model.folder)
    assert state(model) == "absent"


def test_a_disk_without_room_is_told_and_leaves_the_store_as_it_was(
    server: Server, card: Make, weights_of: State
) -> None:
    model = published(server, card, pth(weights_of))
    with pytest.raises(WeightsError, match="has room for 1,000 bytes"):
        pull(model, replace(HASTY, free_bytes=lambda _: 1000), unseen, unseen)
    assert state(model) == "absent"


def test_a_store_that_cannot_be_written_is_told(server: Server, card: Make, weights_of: State) -> None:
    model = published(server, card, pth(weights_of))
    (model.folder / "weights").write_text("in the way", encoding="utf-8")
    with pytest.raises(WeightsError, match=rf"^{model.name}: .*weights: File exists"):
        pull(model, HASTY, unseen, unseen)


def test_a_model_that_is_published_nowhere_cannot_be_pulled(card: Make) -> None:
    model = card(sha256="0" * 64)
    assert state(model) == "missing"
    with pytest.raises(WeightsError, match="published nowhere"):
        pull(model, HASTY, unseen, unseen)


def test_of_two_pulls_at_once_one_fetches_and_the_other_waits(server: Server, card: Make, weights_of: State) -> None:
    model = published(server, card, pth(weights_of))
    fetching, waiting = threading.Event(), threading.Event()
    told: list[str] = []
    fetched: dict[str, bool] = {}

    def first_progress(_done: int, _total: int | None) -> None:
        fetching.set()
        assert waiting.wait(10)

    def say(what: str) -> None:
        told.append(what)
        waiting.set()

    first = threading.Thread(target=lambda: fetched.update(a=pull(model, HASTY, first_progress, unseen)))
    second = threading.Thread(target=lambda: fetched.update(b=pull(model, HASTY, unseen, say)))
    first.start()
    assert fetching.wait(10)
    second.start()
    first.join()
    second.join()
    assert fetched == {"a": True, "b": False}
    assert told == [f"{model.name}: waiting for another process that gets the same weights"]
    assert len(server.asked) == 1


def test_a_published_file_is_taken_from_a_disk(card: Make, weights_of: State, tmp_path: Path) -> None:
    theirs = pth({"state_dict": openmmlab(weights_of)})
    file = tmp_path / "downloaded elsewhere.pth"
    file.write_bytes(theirs)
    model = card(
        ("http://weights.example/a.pth", {"sha256": "0" * 8}),
        ("http://weights.example/b.pth", {**prefix(theirs), "profile": "openmmlab"}),
    )
    take(model, file, unseen)
    assert state(model) == "ready"
    weights.verify(model)


def test_a_zip_is_taken_from_a_disk(card: Make, weights_of: State, tmp_path: Path) -> None:
    inner = pth(weights_of)
    file = tmp_path / "weights.zip"
    file.write_bytes(zipped(model__pth=inner))
    digest = hashlib.sha1(inner, usedforsecurity=False).hexdigest()
    model = card(("http://weights.example/a.zip", {"sha1": digest, "profile": "encoding"}))
    take(model, file, unseen)
    weights.verify(model)


def test_a_file_that_was_not_published_is_not_taken(card: Make, weights_of: State, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.write_bytes(pth(weights_of))
    model = card(("http://weights.example/a.pth", {"sha256": "0" * 8}))
    with pytest.raises(WeightsError, match="is none of its published files: those have the checksums 00000000"):
        take(model, file, unseen)
    assert state(model) == "absent"


def test_removed_weights_are_gone_with_their_archive_and_the_card_stays(
    server: Server, card: Make, weights_of: State, tmp_path: Path
) -> None:
    model = published(server, card, pth(weights_of))
    before = visible(model.folder)
    pull(model, HASTY, unseen, unseen)
    archive = tmp_path / "archives" / model.name
    archive.mkdir(parents=True)
    remove(model, tmp_path / "archives")
    assert visible(model.folder) == before
    assert not archive.exists()
    assert state(model) == "absent"


def test_weights_that_came_with_the_store_are_not_removed(card: Make) -> None:
    model = card(file="weights.safetensors", sha256="0" * 64)
    model.weights_path.write_bytes(b"weights")
    with pytest.raises(WeightsError, match="came with the model store"):
        remove(model, model.folder.parent / "archives")
    assert model.weights_path.exists()
