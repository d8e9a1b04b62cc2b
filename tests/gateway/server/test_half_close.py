"""The interim responses to a half-closed client. `tests/inputs/test_http.py` tests them on real connections."""

import asyncio

import pytest

from service.gateway.server.half_close import INTERIM, HalfClose
from tests.gateway.conftest import until

pytestmark = pytest.mark.anyio


async def test_they_are_sent_with_pauses_until_the_response_begins() -> None:
    sent: list[bytes] = []
    half = HalfClose(asyncio.get_running_loop(), sent.append, lambda: len(sent) < 3)
    half.begin()
    assert sent == [INTERIM]
    await until(lambda: len(sent) == 3)
    await asyncio.sleep(0.5)
    assert sent == [INTERIM] * 3


async def test_none_is_sent_once_the_response_has_begun_or_the_connection_is_lost() -> None:
    sent: list[bytes] = []
    HalfClose(asyncio.get_running_loop(), sent.append, lambda: False).begin()
    assert sent == []

    half = HalfClose(asyncio.get_running_loop(), sent.append, lambda: True)
    half.begin()
    half.end()
    half.end()
    await asyncio.sleep(0.2)
    assert sent == [INTERIM]
