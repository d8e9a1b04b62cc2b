"""The parts of the image routes that do not depend on the task."""

import asyncio

import pytest
from starlette.datastructures import State

from service.gateway.http.problems import DISCONNECTED, ON_DISCONNECT, ClientGoneError
from service.gateway.inference.result import Result
from service.gateway.routes.image_results import ImageResults, document_of, unless_gone
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.parsers.image_bodies import Upload
from service.tasks.base import DecodedFacts

pytestmark = pytest.mark.anyio


async def test_work_is_finished_while_the_client_stays() -> None:
    state = State()

    async def work() -> int:
        return 3

    assert await unless_gone(state, work()) == 3
    assert not hasattr(state, ON_DISCONNECT), "a late disconnection would cancel the response"


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> int:
        raise KeyError

    with pytest.raises(KeyError):
        await unless_gone(State(), work())


async def test_work_is_stopped_when_the_client_leaves() -> None:
    state, stopped = State(), asyncio.Event()

    async def work() -> None:
        try:
            asyncio.get_running_loop().call_soon(getattr(state, ON_DISCONNECT))
            await asyncio.Event().wait()
        finally:
            stopped.set()

    with pytest.raises(ClientGoneError):
        await unless_gone(state, work())

    assert stopped.is_set()


async def test_what_the_work_makes_of_its_being_stopped_is_nobodys() -> None:
    state = State()

    async def work() -> None:
        try:
            asyncio.get_running_loop().call_soon(getattr(state, ON_DISCONNECT))
            await asyncio.Event().wait()
        finally:
            raise ValueError

    with pytest.raises(ClientGoneError):
        await unless_gone(state, work())

    assert (task := asyncio.current_task()) is not None
    assert task.cancelling() == 0


async def test_work_for_a_client_that_has_left_is_not_begun() -> None:
    begun = False

    async def work() -> None:
        nonlocal begun
        begun = True

    with pytest.raises(ClientGoneError):
        await unless_gone(State({DISCONNECTED: True}), work())

    assert not begun


async def test_nothing_is_left_running_when_the_whole_is_cancelled() -> None:
    before = asyncio.all_tasks()
    task = asyncio.create_task(unless_gone(State(), asyncio.sleep(600)))
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("declared", "format_", "warned"),
    [
        (None, "JPEG", False),
        ("image/jpeg", "JPEG", False),
        ("image/jpg", "JPEG", False),
        ("image/x-ms-bmp", "BMP", False),
        ("application/octet-stream", "WEBP", False),
        ("text/plain", "PNG", False),
        ("image/png", "JPEG", True),
        ("image/heic", "AVIF", True),
    ],
)
def test_only_another_picture_type_than_declared_is_worth_a_warning(
    declared: str | None,
    format_: str,
    warned: bool,  # noqa: FBT001
) -> None:
    facts = DecodedFacts(2, 3, format_, "RGB", ("first_frame_only",))

    result = document_of(0, Result(Upload(b"x", declared=declared), facts), predictions=[])

    assert result["warnings"] == ["first_frame_only", *(["content_type_mismatch"] if warned else [])]


def test_server_timing_names_the_stages_that_there_were_in_their_order() -> None:
    results = ImageResults("id", 0.0, RequestTerms(), [], {"encode": 0.001, "upload": 0.002, "decode": 0.0031})

    rows = results.headers()["Server-Timing"].split(", ")

    assert rows[:3] == ["upload;dur=2.00", "decode;dur=3.10", "encode;dur=1.00"]
    assert rows[3].startswith("total;dur=")
