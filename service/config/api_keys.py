"""API keys: how one is made, what is kept of it, and when a service must have some.

A key holds 256 random bits, so one round of SHA-256 is all that must be kept of it: there is nothing to guess. (A slow
hash protects what people choose.) Its line in a file, or in RESNEST_KEYS, is

    name scope[,scope...] sha256 [rate=PICTURES_A_SECOND] [burst=PICTURES] [concurrency=REQUESTS] [expires=YYYY-MM-DD]

Lines of one name are keys of one caller, who has their limits once and not once a key: to change a key, add one, move
over, remove the first.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from service.models.files import FileError

Scope = Literal["classify", "segment", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

PREFIX: Final = "rsn_"  # by which scanners for leaked secrets can know one
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
RESERVED: Final = frozenset({"anonymous", "token", "unknown"})  # callers without a key, by their names in metrics
MIN_RATE: Final = 1e-4  # pictures a second: nine a day
MAX_LIMIT: Final = 1_000_000
MAX_KEYS: Final = 1_000  # each caller is a label of metrics, and each key is compared with: 0.3 us


class KeysError(FileError):
    """What tells callers apart, or limits them, is missing or cannot be used; one sentence with nothing of a key."""


@dataclass(frozen=True)
class Quota:
    """What a caller may send: pictures a second, pictures at once, requests at one time; None is the gateway's own."""

    rate: float | None = None
    burst: int | None = None
    concurrency: int | None = None


NO_QUOTA: Final = Quota()


@dataclass(frozen=True)
class Key:
    """What is kept of a key: whose it is, what it opens, the SHA-256 of it, and the last day (UTC) it is good for."""

    name: str
    scopes: frozenset[Scope]
    digest: str
    quota: Quota = NO_QUOTA
    expires: date | None = None

    @property
    def id(self) -> str:
        """Enough of the digest to tell a caller's keys apart."""
        return self.digest[:8]

    def line(self) -> str:
        """The key's line."""
        options = {**asdict(self.quota), "expires": self.expires}
        told = [f"{name}={value}" for name, value in options.items() if value is not None]
        scopes = [scope for scope in SCOPES if scope in self.scopes]
        return " ".join([self.name, ",".join(scopes), self.digest, *told])


def new_secret() -> str:
    """A key, which only its caller keeps."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def find(keys: Iterable[Key], secret: str, today: date | None = None) -> Key | None:
    """The key that this is, if it is one and still good; the time that it takes tells nothing of them."""
    wanted, found = digest(secret), None
    for key in keys:
        if hmac.compare_digest(key.digest, wanted):
            found = key
    day = today or datetime.now(UTC).date()
    return None if found is None or (found.expires is not None and found.expires < day) else found


def read(file: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises `KeysError`."""
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KeysError.of(file, error) from None


def parse(text: str) -> tuple[Key, ...]:
    """The keys of these lines; blank ones and those that begin with `#` are none. Raises `KeysError`."""
    keys = []
    for number, words in enumerate(map(str.split, text.splitlines()), start=1):
        if not words or words[0].startswith("#"):
            continue
        try:
            keys.append(_key(words))
        except ValueError as error:
            raise KeysError(f"line {number}: {error}") from None
    if len({key.digest for key in keys}) < len(keys):
        raise KeysError("a key stands there twice")
    if len(keys) > MAX_KEYS:
        raise KeysError(f"there are {len(keys)} keys, and {MAX_KEYS} are allowed")
    return tuple(keys)


def _key(words: list[str]) -> Key:
    """A key from the words of its line. Raises `ValueError` that names the place and never what stands there."""
    if len(words) < 3:
        raise ValueError("a key needs a name, scopes and a digest")
    name, scopes, kept, *options = words
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(f"the name must be of 1 to 32 of a-z 0-9 . _ -, and not {' or '.join(sorted(RESERVED))}")
    opened = frozenset(scopes.split(","))
    if not opened <= set(SCOPES):
        raise ValueError(f"the scopes are {', '.join(SCOPES)}")
    if not DIGEST.fullmatch(kept):
        raise ValueError("the digest must be a SHA-256 of 64 digits; `resnest-service keys new` writes one")
    told = dict(map(_option, options))
    expires = told.pop("expires", None)
    return Key(name, opened, kept, Quota(**told), expires)  # type: ignore[arg-type]  # a subset of the scopes


def _option(option: str) -> tuple[str, Any]:
    name, _, value = option.partition("=")
    if name not in OPTIONS:
        raise ValueError(f"the options are {', '.join(OPTIONS)}")
    try:
        return name, OPTIONS[name](value)
    except ValueError:
        raise ValueError(f"{name} has no such value") from None


def _rate(value: str) -> float:
    rate = float(value)
    if not MIN_RATE <= rate <= MAX_LIMIT:
        raise ValueError
    return rate


def _count(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and 0 < int(value) <= MAX_LIMIT):
        raise ValueError
    return int(value)


OPTIONS: Final[Mapping[str, Callable[[str], object]]] = {
    "rate": _rate,
    "burst": _count,
    "concurrency": _count,
    "expires": date.fromisoformat,
}


def check_exposure(host: str, *, protected: bool, waived: bool) -> None:
    """Raise `KeysError` where a service at `host` would let in anybody beyond this machine, and it was not waived."""
    if not (protected or waived or is_loopback(host)):
        raise KeysError(
            f"will not listen on {host} for everybody: make a key with `resnest-service keys new NAME` and set "
            "RESNEST_KEYS_FILE, or set RESNEST_ALLOW_NO_KEYS=true where something in front of it asks who calls"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        found = socket.getaddrinfo(host or "::", None, type=socket.SOCK_STREAM)
        return all(ipaddress.ip_address(str(place[4][0]).partition("%")[0]).is_loopback for place in found)
    except (OSError, UnicodeError):
        return False
