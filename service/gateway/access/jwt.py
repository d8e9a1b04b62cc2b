"""Verify tokens (JWT, RFC 7519) of an identity provider with the public keys that it publishes (JWKS, RFC 7517)."""

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

from service.config.api_keys import KeysError, scopes
from service.config.outage import Outage
from service.errors import KeysUnavailable
from service.gateway.access.callers import Caller
from service.models import text_file

log = logging.getLogger(__name__)

LABEL: Final = "token"  # of all subjects in metrics: there may be one for each user
REFRESH_S: Final = 300.0
# A token with an unknown key triggers an early refresh, but no more often than this: anyone can invent such a token.
MIN_REFRESH_S: Final = 10.0
FETCH_TIMEOUT_S: Final = 10.0
MAX_BYTES: Final = 1 << 20
MAX_SUBJECT: Final = 256  # characters


@dataclass(frozen=True)
class JwtRules:
    """The requirements on a token: its audience, issuer and signature algorithms, and the leeway of its times."""

    audience: str
    issuer: str
    algorithms: tuple[str, ...]
    scope_claim: str
    leeway_s: float


class JwtVerifier:
    """A verifier of tokens, with a key set from a file or URL that is refreshed every five minutes."""

    def __init__(
        self,
        source: str,
        rules: JwtRules,
        set_stale: Callable[[int], object],
        refresh_s: float = REFRESH_S,
        min_refresh_s: float = MIN_REFRESH_S,
    ) -> None:
        """Use the key set at `source`. Raise `KeysError` if it is a file that cannot be read.

        Each refresh calls `set_stale`: with 1 if the set cannot be read, so that the previous keys stay valid, or 0.
        """
        self._source = source
        self._rules = rules
        self._set_stale = set_stale
        self._refresh_s = refresh_s
        self._min_refresh_s = min(min_refresh_s, refresh_s)
        self._keys: Sequence[jwt.PyJWK] | None = None
        self._unknown = asyncio.Event()
        self._outage = Outage(log, logging.ERROR)
        if not self._is_remote:
            try:
                self._keys = parse(Path(source).read_bytes())
            except (OSError, ValueError) as error:
                raise KeysError.of(source, error) from None

    @property
    def _is_remote(self) -> bool:
        return self._source.startswith(("https://", "http://"))

    def verify(self, token: str) -> Caller | None:
        """Return the caller of a token, or None if it is invalid. Raise `KeysUnavailable`."""
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
                algorithms=list(self._rules.algorithms),
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=self._rules.leeway_s,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
        except jwt.PyJWTError:
            return None
        subject = claims["sub"]
        return Caller(subject, LABEL, self._scopes(claims)) if 0 < len(subject) <= MAX_SUBJECT else None

    async def watch(self) -> None:
        """Refresh the key set at its interval, and sooner after a token with an unknown key."""
        while True:
            self._unknown.clear()
            await self._refresh()
            await asyncio.sleep(self._min_refresh_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_s - self._min_refresh_s):
                    await self._unknown.wait()

    def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK | None:
        """Return the key that a token names, or the only one of the set. Raise `KeysUnavailable`."""
        if self._keys is None:
            self._unknown.set()
            raise KeysUnavailable("The keys for verifying tokens could not be fetched yet.")
        name = header.get("kid")
        matching = [key for key in self._keys if name is None or key.key_id == name]
        return matching[0] if len(matching) == 1 else None

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Any]:
        """Return the scopes of this service in the claim: a list, or words (RFC 8693, section 4.2)."""
        claim = claims.get(self._rules.scope_claim, "")
        words = claim.split() if isinstance(claim, str) else claim
        return frozenset(word for word in words if word in scopes()) if isinstance(words, list) else frozenset()

    async def _refresh(self) -> None:
        try:
            content = await fetch(self._source) if self._is_remote else await asyncio.to_thread(_read, self._source)
            keys = parse(content)
        except (OSError, ValueError, TimeoutError, aiohttp.ClientError) as error:
            self._outage.begin(
                f"the keys for tokens cannot be read, the previous ones stay valid: {type(error).__name__}"
            )
            self._set_stale(1)
        else:
            self._keys = keys
            self._outage.end("the keys for tokens were read again")
            self._set_stale(0)


def parse(content: bytes) -> list[jwt.PyJWK]:
    """Return the keys of a set that can verify signatures. Raise `ValueError` if there are none."""
    document = json.loads(text_file.decode(content))
    try:
        keys = jwt.PyJWKSet.from_dict(document).keys
    except (jwt.PyJWTError, AttributeError, TypeError) as error:
        raise ValueError("it is not a JSON Web Key Set") from error
    usable = [key for key in keys if key.public_key_use in {None, "sig"} and key.key_type != "oct"]
    if not usable:
        raise ValueError("it contains no public key for signatures")
    return usable


async def fetch(url: str) -> bytes:
    """Return the content at a URL. Raise `aiohttp.ClientError`, `TimeoutError`, or `ValueError` above 1 MiB."""
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
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
