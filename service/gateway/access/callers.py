"""Identify the caller of a request by the API key or token in its headers."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

from starlette.datastructures import Headers, QueryParams

from service.config import api_keys as keys
from service.config.api_keys import NO_QUOTA, Key, KeysError, Quota
from service.config.watched_file import RELOAD_S, WatchedFile
from service.errors import Unauthenticated

ANONYMOUS = "anonymous"
MAX_ANONYMOUS = 4096  # addresses whose caller is cached

HOW_TO_SEND: Final = "Send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`."
# Query parameters in which other services take a key, in lower case.
KEY_PARAMETERS: Final = frozenset({"api_key", "api-key", "apikey", "x-api-key", "key", "access_token", "token"})


@dataclass(frozen=True)
class Caller:
    """The sender of a request: its name, its label in metrics (of few values), its scopes and its quota."""

    name: str
    label: str
    scopes: frozenset[str]
    quota: Quota = NO_QUOTA


class Keyring:
    """The valid API keys: those of a setting, and those of a file that is reloaded when it changes."""

    def __init__(
        self, text: str, file: Path | None, set_stale: Callable[[int], object], reload_s: float = RELOAD_S
    ) -> None:
        """Read the keys of `text` and `file`. Raise `KeysError` if they cannot be read or there are none.

        Each reload calls `set_stale`: with 1 if the file cannot be read, so that the previous keys stay valid, or 0.
        """
        self._fixed = keys.parse(text)
        self._file = WatchedFile(file, keys.read, set_stale, reload_s) if file else None
        if not self.keys:
            raise KeysError(f"{file or 'RESNEST_KEYS'} contains no key; `resnest-service keys new NAME` creates one")

    @property
    def keys(self) -> tuple[Key, ...]:
        """The valid keys."""
        return self._fixed + (self._file.value if self._file else ())

    def next_expiry(self, today: date | None = None) -> float:
        """Return the Unix time at which the next of the keys that are still valid expires, infinity if none does."""
        day = today or datetime.now(UTC).date()
        last_days = [key.expires for key in self.keys if key.expires is not None and key.expires >= day]
        if not last_days:
            return math.inf
        return datetime.combine(min(last_days) + timedelta(days=1), time(), UTC).timestamp()

    def find(self, secret: str) -> Key | None:
        """Return the key with this secret, or None."""
        return keys.find(self.keys, secret)

    async def watch(self) -> None:
        """Reload the file whenever it changes. A file that cannot be read changes nothing."""
        if self._file:
            await self._file.watch()


class TokenVerifier(Protocol):
    """A verifier of bearer tokens."""

    def verify(self, token: str) -> Caller | None:
        """Return the caller of a token, or None if it is invalid. Raise `KeysUnavailable`."""

    async def watch(self) -> None:
        """Keep the keys for verification up to date."""


class Authenticator:
    """Authentication by API key or token. Without a keyring and tokens, every caller may do everything."""

    def __init__(self, keyring: Keyring | None, tokens: TokenVerifier | None = None) -> None:
        self._scopes = frozenset(keys.scopes())
        self._keyring = keyring
        self._tokens = tokens

    async def watch(self) -> None:
        """Keep the keys up to date."""
        await asyncio.gather(*(each.watch() for each in (self._keyring, self._tokens) if each is not None))

    def identify(self, headers: Headers, address: str, query: bytes = b"") -> Caller:
        """Return the caller that sent these headers, or without authentication the one at that address.

        No key is read from the `query` of the URL. It only explains why a request has no key. Raise `Unauthenticated`
        or `KeysUnavailable`.
        """
        if self._keyring is None and self._tokens is None:
            return _anonymous(address, self._scopes)
        secret = headers.get("x-api-key") or _bearer(headers)
        if secret is None:
            raise Unauthenticated(f"{_why_missing(headers, query)} {HOW_TO_SEND}", reason="missing")
        caller = self._by_key(secret) or (self._tokens.verify(secret) if self._tokens else None)
        if caller is None:
            raise Unauthenticated(_why_invalid(headers), reason="invalid")
        return caller

    def _by_key(self, secret: str) -> Caller | None:
        key = self._keyring.find(secret) if self._keyring else None
        return None if key is None else Caller(key.name, key.name, key.scopes, key.quota)


@lru_cache(MAX_ANONYMOUS)
def _anonymous(address: str, scopes: frozenset[str]) -> Caller:
    return Caller(address, ANONYMOUS, scopes)


def _bearer(headers: Headers) -> str | None:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def _why_missing(headers: Headers, query: bytes) -> str:
    """Return why a request has no key, without any of its values: each of them may be a key."""
    scheme, _, value = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return "Authorization has no key after `Bearer`."
    if value:
        return "Authorization has another scheme than `Bearer`."
    if scheme:
        return "Authorization lacks the scheme `Bearer` before the key."
    if not KEY_PARAMETERS.isdisjoint(name.lower() for name in QueryParams(query)):
        return "A key in the URL is not read, because proxies and browsers record URLs."
    return "The request has no key."


def _why_invalid(headers: Headers) -> str:
    """Return what is wrong with a key, without the key."""
    if headers.get("x-api-key", "").lower().startswith("bearer "):
        return "The key is not valid. `X-API-Key` takes the key alone, without `Bearer`."
    return "The key is not valid."
