"""Pooled HTTP connections to one server, none of them old, and every way they can fail as one of three errors."""

import asyncio
import io
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

AGE_S = 300.0  # behind one address there may be others by now, that only new connections get to
CONNECT_S = 2.0  # a host that has gone without a word answers nothing at all


class UnreachableError(Exception):
    """Nothing listens there; nothing was sent."""


class BrokenError(Exception):
    """The connection broke over an exchange; what became of the request is not known."""


class GibberishError(Exception):
    """What answers does not speak HTTP."""


class Pinned(AbstractResolver):
    """Gives one address for every name, so that a name with several addresses is a server by each of them."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """The one address, for `host` as the connection's name."""
        return [ResolveResult(hostname=host, host=self._address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class _Pool:
    """A pool without a bound (admission is the bound), clocks (deadlines are ours) or cookies; and who uses it."""

    session: aiohttp.ClientSession
    born: float
    users: int = 0


class HttpClient:
    """A server at `http://host:port`, at one `address` of that host if given, or at `unix:/path`.

    Connections are used again, until their pool is `age_s` old or one of them broke: what stands behind an address
    changes, and one that was closed is seldom alone. Use it inside the event loop.
    """

    def __init__(self, url: str, address: str | None = None, age_s: float = AGE_S) -> None:
        path = url.removeprefix("unix:")
        self._socket = path if path != url else None
        self._base = "http://localhost" if self._socket else url.rstrip("/")
        self._address = address
        self._age_s = age_s
        self._pool: _Pool | None = None
        self._closed = False

    async def exchange(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises `UnreachableError`, `BrokenError` or `GibberishError`."""
        if self._closed:
            raise UnreachableError
        pool = await self._current()
        pool.users += 1
        data = None if body is None else io.BytesIO(body)  # in pieces: above 1 MiB aiohttp warns of bytes
        url = self._base + path
        try:
            async with pool.session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
                return response.status, await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            raise UnreachableError from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            if self._pool is pool:
                self._pool = None
            raise BrokenError from error
        except aiohttp.ClientError as error:
            raise GibberishError from error
        finally:
            pool.users -= 1
            if self._pool is not pool and not pool.users:
                await pool.session.close()

    async def close(self) -> None:
        """Give back the connections: those in use after their exchanges. There are none from now on."""
        self._closed = True
        await self._give_back()

    async def _give_back(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None and not pool.users:
            await pool.session.close()

    async def _current(self) -> _Pool:
        now = asyncio.get_running_loop().time()
        if self._pool is not None and now - self._pool.born >= self._age_s:
            await self._give_back()
        if self._pool is None:
            self._pool = _Pool(self._session(), now)
        return self._pool

    def _session(self) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if self._socket:
            connector = aiohttp.UnixConnector(self._socket, limit=0)
        elif self._address:
            connector = aiohttp.TCPConnector(limit=0, resolver=Pinned(self._address), use_dns_cache=False)
        else:
            connector = aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
