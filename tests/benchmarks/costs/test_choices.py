"""Tests of the comparison of choices: with made-up alternatives, and with the program and a real TorchServe."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.costs.choices import __main__
from benchmarks.costs.choices.base import Alternative, Choice, rate, spread
from benchmarks.costs.choices.torchserve import content_of, delay, field

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Run the tests on asyncio."""
    return "asyncio"


def test_ratios_are_taken_within_a_repeat() -> None:
    assert spread([10, 30, 30], [10, 10, 20]) == ["1.00", "1.50", "3.00"]


async def test_ways_are_measured_in_turn_and_then_backwards() -> None:
    order: list[str] = []

    def alternative(name: str, figure: float) -> Alternative:
        async def measure(_: float) -> float:
            order.append(name)
            return figure

        return Alternative(name, measure)

    choice = Choice("what", "ms", [alternative("ours", 2), alternative("other", 3)])
    await choice.repeat(1, backwards=False)
    await choice.repeat(1, backwards=True)

    assert order == ["ours", "other", "other", "ours"]
    assert choice.rows() == [
        ["what", "ours", "2", "ms", "1.00", "1.00", "1.00"],
        ["what", "other", "3", "ms", "1.50", "1.50", "1.50"],
    ]


async def test_a_rate_counts_what_was_answered() -> None:
    sent = 0

    async def send() -> None:
        nonlocal sent
        await asyncio.sleep(0.01)
        sent += 1

    assert 0 < await rate(send, 0.3, in_flight=4) <= sent / 0.2


@pytest.mark.parametrize("length", [0, 1, 127, 128, 150_528])
def test_a_protocol_buffers_field_is_read_as_it_was_written(length: int) -> None:
    assert content_of(field(1, bytes(length))) == bytes(length)


def test_the_programs_measure_servers_clients_and_encoders(tmp_path: Path) -> None:
    into = tmp_path / "results" / "choices.json"
    words = ["server", "client", "json", "--repeats", "1", "--seconds", "0.3", "--into", str(into)]
    assert CliRunner().invoke(__main__.main, words, catch_exceptions=False).exit_code == 0

    choices = json.loads(into.read_text(encoding="utf-8"))["choices"]
    assert set(choices["server, requests/s"]) == {
        f"{http}, {loop}" for http in ("httptools", "h11") for loop in ("uvloop", "asyncio")
    }
    assert all(figure > 0 for found in choices.values() for figures in found.values() for figure in figures)


@pytest.mark.e2e
@pytest.mark.stress  # 12 s
async def test_a_real_torchserve_is_measured_with_each_delay(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        concurrent, lone = await delay(stack, tmp_path)
        await lone.repeat(0.3, backwards=False)

    assert set(lone.found) == {alternative.name for alternative in concurrent.alternatives}
    assert all(figures[0] > 11.5 for figures in lone.found.values())  # the model sleeps so long
