"""Tests of a whole measurement."""

import re
from pathlib import Path
from typing import Any

import pytest

from service.measure import tables
from service.measure.load import corpus, mix, session
from service.measure.load.session import SessionOptions
from service.measure.load.sweep import SHARES
from service.measure.load.trial import Load, Progress
from tests.measure.load.serving import Answer, Server, running

pytestmark = pytest.mark.anyio

SIZE = ((64, 48),)


def options(url: str = "http://127.0.0.1:1", **more: Any) -> SessionOptions:
    return SessionOptions(url, size=SIZE, duration=0.3, warm_up=0.1, **more)


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ({}, "http://127.0.0.1:1/v1/classify"),
        ({"task": "segment", "model": "a b"}, "http://127.0.0.1:1/v1/segment?model=a+b"),
        ({"path": "/inference", "model": "m"}, "http://127.0.0.1:1/inference"),
    ],
)
def test_the_target_is_the_tasks_route_or_the_path_given(given: dict[str, str], target: str) -> None:
    assert options(**given).target == target


@pytest.mark.parametrize(
    ("given", "loads"),
    [
        ({}, [Load("closed", 16)]),
        ({"concurrency": (1.0, 4.0)}, [Load("closed", 1), Load("closed", 4)]),
        ({"rate": (5.0, 9.5), "arrivals": "constant"}, [Load("constant", 5.0), Load("constant", 9.5)]),
        ({"is_sweep": True, "concurrency": (4.0, 8.0), "rate": (3.0,)}, [Load("closed", 8)]),
    ],
)
def test_the_loads_are_those_asked_for(given: dict[str, Any], loads: list[Load]) -> None:
    assert options(**given).loads == loads


async def test_every_load_is_put_on_the_service_and_told() -> None:
    lines: list[str] = []
    watched: list[tuple[Load, Progress]] = []
    async with running(Server(lambda _: Answer(0.005))) as server:
        asked = options(server.url, concurrency=(1.0, 3.0), header=(("X-Api-Key", "k"),), allow_p95=10_000.0)
        trials = await session.measure(asked, lines.append, lambda load, now: watched.append((load, now)))
    assert [str(each.load) for each in trials] == ["1 at a time", "3 at a time"]
    assert lines[0].startswith(f"{server.url}/v1/classify: 4 images, ")
    assert all(b"X-Api-Key: k" in head for head, _ in server.requests)
    text = tables.text(session.tables(asked, trials))
    assert re.search(r"^3 at a time .* 0 ", text, re.MULTILINE)
    assert "Within 10000 ms at the 95th percentile and without an error: 3 at a time, " in text


async def test_a_sweep_goes_from_a_fifth_of_the_capacity_to_beyond_it() -> None:
    async with running(Server(lambda _: Answer(0.02), one_at_a_time=True)) as server:
        trials = await session.measure(options(server.url, is_sweep=True), lambda _: None, lambda *_: None)
    assert len(trials) == len(SHARES)
    rates = [each.load.amount for each in trials]
    assert rates == sorted(rates)
    assert rates[-1] / rates[0] == pytest.approx(1.1 / 0.2)
    assert rates[-2] <= 50.5  # the capacity of the server
    assert "100" in session.page(options(server.url, is_sweep=True), trials)


def test_one_picture_is_a_raw_body_and_several_a_form() -> None:
    uploads = corpus.make(SIZE, per_size=3)
    single = session.requests_of(options(), uploads)
    assert [each.images for each in single] == [1, 1, 1]
    assert single[0].wire.endswith(uploads[0].content)
    (together,) = session.requests_of(options(images=8), uploads)
    assert together.images == 8
    assert together.wire.count(uploads[0].content) == 3
    assert together.wire.count(uploads[2].content) == 2


async def test_throughput_counts_pictures_and_not_only_requests() -> None:
    async with running(Server(lambda _: Answer(0.01))) as server:
        (found,) = await session.measure(options(server.url, images=8), lambda _: None, lambda *_: None)
    assert found.summary.images_per_s == pytest.approx(8 * found.summary.requests_per_s)


def test_no_load_within_the_bound_is_told() -> None:
    assert tables.text(session.tables(options(allow_p95=1.0), [])).endswith("without an error: none of these loads")


def test_the_pictures_may_come_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(corpus.make(SIZE, per_size=1)[0].content)
    asked = SessionOptions("http://x", image_folder=tmp_path)
    assert [each.name for each in asked.uploads] == ["a.jpg"]
    assert session.corpus_document(asked) == {"from": tmp_path.name, "per_request": 1}


def test_a_mix_is_made_from_the_images_of_a_folder_and_the_document_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mix, "MIX", mix.MIX[:1])
    (tmp_path / "a.jpg").write_bytes(corpus.make([(16, 16)])[0].content)
    generated, photographed = (SessionOptions("http://x", mix=True, image_folder=each) for each in (None, tmp_path))
    assert len(generated.uploads) == len(photographed.uploads) == 3
    assert generated.uploads != photographed.uploads
    assert session.corpus_document(generated)["from"] == "mix"
    assert session.corpus_document(photographed)["from"] == f"mix of {tmp_path.name}"
