"""Who calls: keys and tokens out of a request's headers, and the keys that are in force."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from starlette.datastructures import Headers

from service.config import api_keys as keys
from service.config.api_keys import NO_QUOTA, Key, KeysError, Quota, Scope
from service.config.watched_file import RELOAD_S, WatchedFile
from service.errors import Unauthenticated

ANONYMOUS = "anonymous"
REMEMBERED = 4096


@dataclass(frozen=True)
class Caller:
    """Who sent a request: its name, its label in metrics, of which there are few, what it may do and how much of it."""

    name: str
    label: str
    scopes: frozenset[Scope]
    quota: Quota = NO_QUOTA


class Keyring:
    """The keys in force: the environment's, and a file's, which is read again when it changes."""

    def __init__(self, text: str, file: Path | None, tell: Callable[[int], object], reload_s: float = RELOAD_S) -> None:
        """`tell` hears 1 when the file cannot be read any more, and the former keys stay in force, and 0 else.

        Raises `KeysError` where the keys cannot be read now, or there are none.
        """
        self._fixed = keys.parse(text)
        self._followed = WatchedFile(file, keys.read, tell, reload_s) if file else None
        if not self.keys:
            raise KeysError(f"{file or 'RESNEST_KEYS'} holds no key; `resnest-service keys new NAME` makes one")

    @property
    def keys(self) -> tuple[Key, ...]:
        """Those in force."""
        return self._fixed + (self._followed.value if self._followed else ())

    def find(self, secret: str) -> Key | None:
        """The key that this is."""
        return keys.find(self.keys, secret)

    async def watch(self) -> None:
        """Take over what the file holds whenever it changes; a file that cannot be read changes nothing."""
        if self._followed:
            await self._followed.watch()


class TokenVerifier(Protocol):
    """What verifies tokens."""

    def read(self, token: str) -> Caller | None:
        """Whose token it is; None where it is no good. Raises `KeysUnavailable`."""

    async def watch(self) -> None:
        """Follow what may change of the keys that it verifies by."""


class Authenticator:
    """Tells who calls; without a keyring and tokens everybody may do everything."""

    def __init__(self, keyring: Keyring | None, tokens: TokenVerifier | None = None) -> None:
        self._keyring = keyring
        self._tokens = tokens

    async def watch(self) -> None:
        """Follow what may change of the keys."""
        await asyncio.gather(*(each.watch() for each in (self._keyring, self._tokens) if each is not None))

    def identify(self, headers: Headers, address: str) -> Caller:
        """Who sent these headers; where nobody is asked, whoever is at that address.

        Raises `Unauthenticated`, `KeysUnavailable`.
        """
        if self._keyring is None and self._tokens is None:
            return _anonymous(address)
        secret = headers.get("x-api-key") or _bearer(headers)
        if secret is None:
            raise Unauthenticated("The request carries no key.", reason="missing")
        caller = self._by_key(secret) or (self._tokens.read(secret) if self._tokens else None)
        if caller is None:
            raise Unauthenticated("The key is not one of those in force.", reason="invalid")
        return caller

    def _by_key(self, secret: str) -> Caller | None:
        key = self._keyring.find(secret) if self._keyring else None
        return None if key is None else Caller(key.name, key.name, key.scopes, key.quota)


@lru_cache(REMEMBERED)
def _anonymous(address: str) -> Caller:
    return Caller(address, ANONYMOUS, frozenset(keys.SCOPES))


def _bearer(headers: Headers) -> str | None:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None
