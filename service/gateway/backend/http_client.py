"""Send HTTP requests to one server over pooled connections, and raise one of three errors for every failure."""

import asyncio
import io
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

AGE_S = 300.0  # servers behind the same address may have changed; only new connections reach the new ones
CONNECT_S = 2.0  # a host that has vanished does not even refuse connections


class UnreachableError(Exception):
    """Nothing listens at the address; nothing was sent."""


class BrokenError(Exception):
    """The connection broke during an exchange; whether the request was processed is unknown."""


class InvalidResponseError(Exception):
    """The response is not HTTP."""


class FixedResolver(AbstractResolver):
    """Resolves every name to one address, so that each address of a name can be used as a server of its own."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """Return the address, with `host` as the name of the connection."""
        return [ResolveResult(hostname=host, host=self._address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Do nothing; the resolver holds no resources."""


@dataclass
class _Pool:
    """A connection pool and the number of its users.

    It has no size limit (admission control is the limit), no timeouts (callers have deadlines) and no cookies.
    """

    session: aiohttp.ClientSession
    created: float
    users: int = 0


class HttpClient:
    """A client of the server at `http://host:port`, at one `address` of that host if given, or at `unix:/path`.

    Connections are reused until their pool is `age_s` old or one of them broke: servers behind an address change, and
    when one connection was closed, others usually were too. Use it inside the event loop.
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
        """Return status and body of the response.

        Raise `UnreachableError`, `BrokenError` or `InvalidResponseError`.
        """
        if self._closed:
            raise UnreachableError
        pool = await self._fresh_pool()
        pool.users += 1
        data = None if body is None else io.BytesIO(body)  # sent in pieces: aiohttp warns about bytes above 1 MiB
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
            raise InvalidResponseError from error
        finally:
            pool.users -= 1
            if self._pool is not pool and not pool.users:
                await pool.session.close()

    async def close(self) -> None:
        """Close the connections, those in use after their exchanges, and refuse further exchanges."""
        self._closed = True
        await self._retire_pool()

    async def _retire_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None and not pool.users:
            await pool.session.close()

    async def _fresh_pool(self) -> _Pool:
        now = asyncio.get_running_loop().time()
        if self._pool is not None and now - self._pool.created >= self._age_s:
            await self._retire_pool()
        if self._pool is None:
            self._pool = _Pool(self._session(), now)
        return self._pool

    def _session(self) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if self._socket:
            connector = aiohttp.UnixConnector(self._socket, limit=0)
        elif self._address:
            connector = aiohttp.TCPConnector(limit=0, resolver=FixedResolver(self._address), use_dns_cache=False)
        else:
            connector = aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
