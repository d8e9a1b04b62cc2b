"""Verify tokens (JWT, RFC 7519) of an identity provider by the public keys that it publishes (JWKS, RFC 7517)."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt

from service.config.api_keys import SCOPES, KeysError
from service.errors import KeysUnavailable
from service.gateway.access.callers import Caller

log = logging.getLogger(__name__)

LABEL: Final = "token"  # of all of them in metrics: there may be a subject for every user
REFRESH_S: Final = 300.0
# An unknown key asks for the set at once, but not for each token that somebody invents.
NUDGE_S: Final = 10.0
FETCH_S: Final = 10.0
MAX_BYTES: Final = 1 << 20
MAX_SUBJECT: Final = 256


@dataclass(frozen=True)
class JwtRules:
    """What a token must be to count: signed by one of `algorithms`, for `audience`, by `issuer`, and of now."""

    audience: str
    issuer: str
    algorithms: tuple[str, ...]
    scope_claim: str
    leeway_s: float


class JwtVerifier:
    """Verifies tokens by a set of public keys out of a file or from an https address, read again every five minutes."""

    def __init__(
        self,
        source: str,
        trust: JwtRules,
        tell: Callable[[int], object],
        refresh_s: float = REFRESH_S,
        nudge_s: float = NUDGE_S,
    ) -> None:
        """`tell` hears 1 when the set cannot be read any more, and the former stays in force, and 0 else.

        Raises `KeysError` for a file that cannot be read now.
        """
        self._source = source
        self._trust = trust
        self._tell = tell
        self._refresh_s = refresh_s
        self._nudge_s = min(nudge_s, refresh_s)
        self._keys: Sequence[jwt.PyJWK] | None = None
        self._unknown = asyncio.Event()
        if not self._is_remote:
            try:
                self._keys = parse(Path(source).read_bytes())
            except (OSError, ValueError) as error:
                raise KeysError.of(source, error) from None

    @property
    def _is_remote(self) -> bool:
        return self._source.startswith(("https://", "http://"))

    def read(self, token: str) -> Caller | None:
        """Whose token it is; None where it is none, or no good. Raises `KeysUnavailable`."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None
        key = self._key(header)
        if key is None:
            self._unknown.set()
            return None
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self._trust.algorithms),
                audience=self._trust.audience,
                issuer=self._trust.issuer,
                leeway=self._trust.leeway_s,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
        except jwt.PyJWTError:
            return None
        subject = claims["sub"]
        return Caller(subject, LABEL, self._scopes(claims)) if 0 < len(subject) <= MAX_SUBJECT else None

    async def watch(self) -> None:
        """Read the set again, now and then, and soon where a token names a key that it has not."""
        while True:
            self._unknown.clear()
            await self._refresh()
            await asyncio.sleep(self._nudge_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_s - self._nudge_s):
                    await self._unknown.wait()

    def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK | None:
        """The key that a token names, or the only one there is. Raises `KeysUnavailable`."""
        if self._keys is None:
            self._unknown.set()
            raise KeysUnavailable("The keys that tokens are verified by could not be fetched yet.")
        name = header.get("kid")
        fitting = [key for key in self._keys if name is None or key.key_id == name]
        return fitting[0] if len(fitting) == 1 else None

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Any]:
        """Those of ours that the claim names: a list, or words (RFC 8693, section 4.2)."""
        told = claims.get(self._trust.scope_claim, "")
        words = told.split() if isinstance(told, str) else told
        return frozenset(word for word in words if word in SCOPES) if isinstance(words, list) else frozenset()

    async def _refresh(self) -> None:
        try:
            content = await fetch(self._source) if self._is_remote else await asyncio.to_thread(_read, self._source)
            keys = parse(content)
        except (OSError, ValueError, TimeoutError, aiohttp.ClientError) as error:
            log.error("the keys of tokens cannot be read, the former ones stay in force: %s", type(error).__name__)
            self._tell(1)
        else:
            self._keys = keys
            self._tell(0)


def parse(content: bytes) -> list[jwt.PyJWK]:
    """The keys of a set that can verify. Raises `ValueError` where there are none."""
    document = json.loads(content)
    try:
        keys = jwt.PyJWKSet.from_dict(document).keys
    except (jwt.PyJWTError, AttributeError, TypeError) as error:
        raise ValueError("it is no JSON Web Key Set") from error
    usable = [key for key in keys if key.public_key_use in {None, "sig"} and key.key_type != "oct"]
    if not usable:
        raise ValueError("it holds no public key for signatures")
    return usable


async def fetch(url: str) -> bytes:
    """What is at the address. Raises `aiohttp.ClientError`, `TimeoutError`, and `ValueError` for more than 1 MiB."""
    timeout = aiohttp.ClientTimeout(total=FETCH_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as response:
        response.raise_for_status()
        content = await response.content.read(MAX_BYTES + 1)
        while len(content) <= MAX_BYTES and (more := await response.content.read(MAX_BYTES + 1 - len(content))):
            content += more
    if len(content) > MAX_BYTES:
        raise ValueError(f"the key set has more than {MAX_BYTES} bytes")
    return content


def _read(path: str) -> bytes:
    return Path(path).read_bytes()
