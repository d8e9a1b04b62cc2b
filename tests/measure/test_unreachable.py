"""Why a service cannot be reached, for the errors of each library that asks one."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, cast
from urllib import request
from urllib.error import URLError

import aiohttp
import pytest

from service.host.processes import free_port
from service.measure import unreachable

UNKNOWN_HOST: Final = socket.gaierror(-2, "Name or service not known")
UNTRUSTED: Final = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "self-signed certificate"


def by_aiohttp(url: str) -> BaseException:
    async def ask() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=5)) as session, session.get(url):
            pass

    with pytest.raises(aiohttp.ClientError) as caught:
        asyncio.run(ask())
    return caught.value


def by_urllib(url: str) -> BaseException:
    with pytest.raises(URLError) as caught:
        request.build_opener(request.ProxyHandler({})).open(url, timeout=5)
    return caught.value


@pytest.mark.parametrize("ask", [by_aiohttp, by_urllib])
def test_a_port_where_nothing_listens_is_a_refused_connection(ask: Callable[[str], BaseException]) -> None:
    assert unreachable.reason(ask(f"http://127.0.0.1:{free_port()}/")) == "Connection refused"


def test_a_server_that_speaks_no_tls_is_a_hint_at_the_scheme() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def ask() -> BaseException:
            async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                writer.close()

            server = await asyncio.start_server(answer, sock=listener)
            async with server, aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.ClientError) as caught:
                    await session.get(f"https://127.0.0.1:{listener.getsockname()[1]}/")
            return caught.value

        found = unreachable.reason(asyncio.run(ask()))

    assert "ssl:" not in found
    assert "http://" in found


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "it does not answer in time"),
        (URLError(TimeoutError()), "it does not answer in time"),
        (URLError(UNKNOWN_HOST), "Name or service not known"),
        (aiohttp.ClientConnectorDNSError(cast("Any", None), UNKNOWN_HOST), "Name or service not known"),
        (
            aiohttp.ClientConnectorCertificateError(cast("Any", None), UNTRUSTED),
            "its certificate is not accepted",
        ),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (ssl.SSLError(1, "[SSL] x"), "no TLS connection"),
        (ValueError(), "ValueError"),
    ],
)
def test_other_errors_have_words_too(error: Exception, words: str) -> None:
    assert unreachable.reason(error).startswith(words)
