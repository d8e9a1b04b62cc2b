"""Installation and removal of weights in the model store."""

import fcntl
import hashlib
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from service import engines
from service.models import zoo
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums
from service.models.weights.checksums import WeightsError
from service.models.weights.store import pull, pull_from_file, remove, state
from tests.models.weights.checkpoints import State, openmmlab, parallel, pth, safe, zipped
from tests.models.weights.conftest import HASTY, unseen, visible
from tests.models.weights.misbehaving import Server
from tests.models.weights.publishing import offered, prefix, published, write_card

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
    server: Server, store: Path, weights_of: State, form: str
) -> None:
    data, described = FORMS[form](weights_of)
    model = write_card(store, (offered(server, data), described))
    assert state(model) == "absent"
    assert pull(model, HASTY, unseen, unseen)
    assert state(model) == "ready"
    found = safetensors.torch.load_file(model.weights_path)
    assert all(torch.equal(found[key], value) for key, value in weights_of.items())
    assert list(zoo.read_all(model.folder.parent)) == [model.name]
    assert sorted(path.name for path in model.weights_path.parent.iterdir()) == [
        ".lock",
        "tiny.safetensors",
        "tiny.safetensors.sha256",
    ]


def test_pulled_weights_are_loaded_by_the_engine(server: Server, store: Path, weights_of: State) -> None:
    model = published(server, store, pth(weights_of))
    pull(model, HASTY, unseen, unseen)
    assert callable(engines.load(model, "cpu"))


def test_the_record_is_what_sha256sum_checks(server: Server, store: Path, weights_of: State) -> None:
    model = published(server, store, pth({"state_dict": weights_of, "epoch": 3}))
    pull(model, HASTY, unseen, unseen)
    lines = model.checksum_path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# made of {server.url('whole')}"
    assert lines[2] == "# left out epoch (int)"
    subprocess.run(
        ["sha256sum", "--check", "--strict", model.checksum_path], cwd=model.checksum_path.parent, check=True
    )


def test_weights_that_are_here_and_sound_are_not_fetched(server: Server, store: Path, weights_of: State) -> None:
    model = published(server, store, pth(weights_of))
    pull(model, HASTY, unseen, unseen)
    before = model.weights_path.stat()
    assert not pull(model, HASTY, unseen, unseen)
    assert len(server.requests) == 1
    now = model.weights_path.stat()
    assert (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_weights_that_were_changed_are_told_and_fetched_again(server: Server, store: Path, weights_of: State) -> None:
    model = published(server, store, pth(weights_of))
    pull(model, HASTY, unseen, unseen)
    whole = model.weights_path.read_bytes()
    model.weights_path.write_bytes(whole[:-1] + b"\0")
    with pytest.raises(CardError, match="it was pulled with"):
        checksums.verify(model)
    assert pull(model, HASTY, unseen, unseen)
    assert model.weights_path.read_bytes() == whole


def test_the_next_source_is_tried_where_one_is_gone(server: Server, store: Path, weights_of: State) -> None:
    theirs = pth({"state_dict": openmmlab(weights_of)})
    first = (server.url("404"), {"sha256": "0" * 8})
    model = write_card(store, first, (offered(server, theirs), {**prefix(theirs), "profile": "openmmlab"}))
    assert pull(model, HASTY, unseen, unseen)
    assert server.url("whole") in model.checksum_path.read_text(encoding="utf-8")


def test_weights_of_a_card_with_their_own_checksum_are_taken_as_they_are(
    server: Server, store: Path, weights_of: State
) -> None:
    data = safe(weights_of)
    model = write_card(store, urls=[offered(server, data)], sha256=hashlib.sha256(data).hexdigest())
    assert pull(model, HASTY, unseen, unseen)
    assert model.weights_path.read_bytes() == data
    assert not model.checksum_path.exists()


def test_of_two_pulls_at_once_one_fetches_and_the_other_waits(server: Server, store: Path, weights_of: State) -> None:
    model = published(server, store, pth(weights_of))
    results, notices = beside_a_pull(model, lambda notify: pull(model, HASTY, unseen, notify))
    assert results == {"first": True, "second": False}
    assert notices == [f"{model.name}: waiting for another process that downloads the same weights"]
    assert len(server.requests) == 1


def test_weights_are_not_removed_while_they_are_pulled(server: Server, store: Path, weights_of: State) -> None:
    model = published(server, store, pth(weights_of))
    before = visible(model.folder)
    results, notices = beside_a_pull(model, lambda notify: remove(model, store / "archives", notify))
    assert results == {"first": True, "second": None}
    assert len(notices) == 1
    assert visible(model.folder) == before
    assert list(model.folder.glob("*weights*")) == []


def test_a_pull_that_waited_for_a_removal_gets_the_weights_anew(server: Server, store: Path, weights_of: State) -> None:
    model = published(server, store, pth(weights_of))
    folder = model.weights_path.parent
    folder.mkdir()
    waits = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with (folder / ".lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            waiting = pool.submit(pull, model, HASTY, unseen, lambda _: waits.set())
            assert waits.wait(10)
            shutil.rmtree(folder)
        assert waiting.result(30)
    checksums.verify(model)
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)


def beside_a_pull(model: ModelCard, other: Callable[[Callable[[str], None]], Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the results of a pull and of `other`, which begins during the pull, and the notices of `other`.

    The pull ends after the first notice.
    """
    fetching, waiting = threading.Event(), threading.Event()
    notices: list[str] = []

    def progress(_done: int, _total: int | None) -> None:
        fetching.set()
        assert waiting.wait(10)

    def notify(message: str) -> None:
        notices.append(message)
        waiting.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(pull, model, HASTY, progress, unseen)
        assert fetching.wait(10)
        second = pool.submit(other, notify)
        return {"first": first.result(30), "second": second.result(30)}, notices


def test_a_published_file_is_taken_from_a_disk(store: Path, weights_of: State, tmp_path: Path) -> None:
    theirs = pth({"state_dict": openmmlab(weights_of)})
    file = tmp_path / "downloaded elsewhere.pth"
    file.write_bytes(theirs)
    model = write_card(
        store,
        ("http://checksums.example/a.pth", {"sha256": "0" * 8}),
        ("http://checksums.example/b.pth", {**prefix(theirs), "profile": "openmmlab"}),
    )
    pull_from_file(model, file, unseen)
    assert state(model) == "ready"
    checksums.verify(model)


def test_a_zip_is_taken_from_a_disk(store: Path, weights_of: State, tmp_path: Path) -> None:
    inner = pth(weights_of)
    file = tmp_path / "weights.zip"
    file.write_bytes(zipped(model__pth=inner))
    digest = hashlib.sha1(inner, usedforsecurity=False).hexdigest()
    model = write_card(store, ("http://checksums.example/a.zip", {"sha1": digest, "profile": "encoding"}))
    pull_from_file(model, file, unseen)
    checksums.verify(model)


def test_a_file_that_was_not_published_is_not_taken(store: Path, weights_of: State, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.write_bytes(pth(weights_of))
    model = write_card(store, ("http://checksums.example/a.pth", {"sha256": "0" * 8}))
    with pytest.raises(WeightsError, match="is not one of its published files, whose checksums are 00000000"):
        pull_from_file(model, file, unseen)
    assert state(model) == "absent"


def test_removed_weights_are_gone_with_their_archive_and_the_card_stays(
    server: Server, store: Path, weights_of: State, tmp_path: Path
) -> None:
    model = published(server, store, pth(weights_of))
    before = visible(model.folder)
    pull(model, HASTY, unseen, unseen)
    archive = tmp_path / "archives" / model.name
    archive.mkdir(parents=True)
    remove(model, tmp_path / "archives", unseen)
    assert visible(model.folder) == before
    assert not archive.exists()
    assert state(model) == "absent"


def test_weights_that_came_with_the_store_are_not_removed(store: Path) -> None:
    model = write_card(store, file="weights.safetensors", sha256="0" * 64)
    model.weights_path.write_bytes(b"weights")
    with pytest.raises(WeightsError, match="came with the model store"):
        remove(model, model.folder.parent / "archives", unseen)
    assert model.weights_path.exists()
