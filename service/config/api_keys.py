"""Create, parse and find API keys, and require them on public addresses.

A key holds 256 random bits, so the service stores one round of its SHA-256: such a key cannot be guessed. (Slow hashes
protect secrets that people choose.) A key is a line in a file, or in RESNEST_KEYS:

    name scope[,scope...] sha256 [rate=IMAGES_PER_SECOND] [burst=IMAGES] [concurrency=REQUESTS] [expires=YYYY-MM-DD]

Lines with the same name are keys of one caller, and share its limits. To replace a key, add a new one, let the caller
change to it, and remove the old one.
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
from typing import Any, Final

from service.models import text_file
from service.models.atomic_write import FileError
from service.tasks import TASKS

ADMIN: Final = "admin"  # the scope of monitoring and administration

PREFIX: Final = "rsn_"  # so that scanners for leaked secrets recognise a key
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
RESERVED: Final = frozenset({"anonymous", "token", "unknown"})  # labels in metrics of callers without a key
MIN_RATE: Final = 1e-4  # images a second: nine a day
MAX_LIMIT: Final = 1_000_000
MAX_KEYS: Final = 1_000  # each caller is a label in metrics, and each comparison takes 0.3 us


class KeysError(FileError):
    """The keys for callers, or their limits, are missing or unusable. The message never contains a key."""


def scopes() -> tuple[str, ...]:
    """Return the scopes that a key can have: one for each task, and `admin`."""
    return (*dict.fromkeys(task.scope for task in TASKS.values()), ADMIN)


@dataclass(frozen=True)
class Quota:
    """A caller's limits: images a second, images at once, concurrent requests; None means the gateway's default."""

    rate: float | None = None
    burst: int | None = None
    concurrency: int | None = None


NO_QUOTA: Final = Quota()


@dataclass(frozen=True)
class Key:
    """A stored key: its caller's name, scopes and quota, the SHA-256 of its secret, and its last valid day (UTC)."""

    name: str
    scopes: frozenset[str]
    digest: str
    quota: Quota = NO_QUOTA
    expires: date | None = None

    @property
    def id(self) -> str:
        """The start of the digest, which distinguishes a caller's keys."""
        return self.digest[:8]

    def line(self) -> str:
        """Return the key's line."""
        values = {**asdict(self.quota), "expires": self.expires}
        options = [f"{name}={value}" for name, value in values.items() if value is not None]
        opened = [scope for scope in scopes() if scope in self.scopes]
        return " ".join([self.name, ",".join(opened), self.digest, *options])


def new_secret() -> str:
    """Return a new secret, which the service does not store."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret, in hexadecimal digits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def find(keys: Iterable[Key], secret: str, today: date | None = None) -> Key | None:
    """Return the valid key with this secret, or None. The time that this takes reveals nothing about the keys."""
    expected, found = digest(secret), None
    for key in keys:
        if hmac.compare_digest(key.digest, expected):
            found = key
    day = today or datetime.now(UTC).date()
    return None if found is None or (found.expires is not None and found.expires < day) else found


def read(file: Path) -> tuple[Key, ...]:
    """Return the keys of a file. Raise `KeysError`."""
    try:
        return parse(text_file.read(file))
    except (OSError, ValueError) as error:
        raise KeysError.of(file, error) from None


def parse(text: str) -> tuple[Key, ...]:
    """Return the keys of these lines. Blank lines and lines that begin with `#` are skipped. Raise `KeysError`."""
    keys = []
    for number, words in enumerate(map(str.split, text.splitlines()), start=1):
        if not words or words[0].startswith("#"):
            continue
        try:
            keys.append(_key(words))
        except ValueError as error:
            raise KeysError(f"line {number}: {error}") from None
    if len({key.digest for key in keys}) < len(keys):
        raise KeysError("a key appears twice")
    if len(keys) > MAX_KEYS:
        raise KeysError(f"there are {len(keys)} keys, and at most {MAX_KEYS} are allowed")
    return tuple(keys)


def check_name(name: str) -> None:
    """Raise `ValueError` for text that cannot be the name of a caller, without the text."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(
            "the name must be 1 to 32 characters of a-z 0-9 . _ -, begin with a letter or digit, and not be "
            f"{' or '.join(sorted(RESERVED))}"
        )


def _key(words: list[str]) -> Key:
    """Return the key from the words of its line. Raise `ValueError`, without any value of the line."""
    if len(words) < 3:
        raise ValueError("a key needs a name, scopes and a digest")
    name, listed, digits, *options = words
    check_name(name)
    opened = frozenset(listed.split(","))
    if not opened <= set(scopes()):
        raise ValueError(f"the scopes are {', '.join(scopes())}")
    if not DIGEST.fullmatch(digits):
        raise ValueError("the digest must be a SHA-256 of 64 hexadecimal digits; `resnest-service keys new` writes one")
    values = dict(map(_option, options))
    expires = values.pop("expires", None)
    return Key(name, opened, digits, Quota(**values), expires)


def _option(option: str) -> tuple[str, Any]:
    name, _, value = option.partition("=")
    if name not in OPTIONS:
        raise ValueError(f"the options are {', '.join(OPTIONS)}")
    try:
        return name, OPTIONS[name](value)
    except ValueError:
        raise ValueError(f"{name} has an invalid value") from None


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
    """Raise `KeysError` if `host` is reachable from other machines without keys (`protected`) or consent (`waived`)."""
    if not (protected or waived or is_loopback(host)):
        raise KeysError(
            f"will not listen on {host} without authentication: make a key with `resnest-service keys new NAME` and "
            "set RESNEST_KEYS_FILE, or set RESNEST_ALLOW_NO_KEYS=true if a proxy in front authenticates callers"
        )


def is_loopback(host: str) -> bool:
    """Return whether an address is reachable only from this machine."""
    try:
        found = socket.getaddrinfo(host or "::", None, type=socket.SOCK_STREAM)
        return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
    except (OSError, UnicodeError):
        return False
