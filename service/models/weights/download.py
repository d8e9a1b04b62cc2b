"""One file from the first of several addresses that gives it whole: resumed, bounded, and patient for so long only.

The proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY are used. Nothing here judges what the bytes are: `accept` does.
"""

import http.client
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from service import __version__
from service.models.weights.checksums import WeightsError

CHUNK_BYTES = 1 << 18
# Of the refusals (4xx), those that another try may turn into an answer.
PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d+)")

Progress = Callable[[int, int | None], None]
Accept = Callable[[Path], None]


@dataclass(frozen=True)
class Rules:
    """How long a server is borne with, how much is taken from it, and how often all the addresses are tried."""

    silence_s: float = 30
    window_s: float = 60  # over which fewer than `slowest` bytes a second are too few
    slowest: int = 4096
    rounds: int = 3
    pause_s: float = 1  # before the second round, and twice as long before each further one
    max_bytes: int = 2 << 30
    copies: int = 3  # of the file that must find room: itself, what may be unpacked from it, what is made of that
    free_bytes: Callable[[Path], int] = field(default=lambda folder: shutil.disk_usage(folder).free)


class UnavailableError(WeightsError):
    """No address gave the file; the message says what each did."""


class AddressError(Exception):
    """What one address did wrong; `final` where asking it again is no use."""

    def __init__(self, what: str, *, final: bool = False) -> None:
        super().__init__(what)
        self.final = final


def fetch(urls: Sequence[str], part: Path, accept: Accept, rules: Rules, progress: Progress) -> str:
    """Fill `part` from one of `urls`, and return that one. What `part` holds already is not fetched again.

    `accept` raises `AddressError` where the file is not the right one; it is then deleted. `progress` is told the
    bytes that are there and, where known, all of them. Raises `UnavailableError`, and `WeightsError` where the file
    cannot be written. A file that may be continued another time is kept.
    """
    failures: dict[str, AddressError] = {}
    for attempt in range(rules.rounds):
        hopeful = [url for url in urls if url not in failures or not failures[url].final]
        if attempt and hopeful:
            time.sleep(rules.pause_s * 2 ** (attempt - 1))
        for url in hopeful:
            try:
                _complete(url, part, accept, rules, progress)
            except AddressError as error:
                failures[url] = error
            else:
                return url
    if _size(part) == 0:
        part.unlink(missing_ok=True)
    told = "".join(f"\n  {url} {failure}" for url, failure in failures.items())
    raise UnavailableError(f"no address gave the file:{told}")


def _complete(url: str, part: Path, accept: Accept, rules: Rules, progress: Progress) -> None:
    """Download, and judge what came. A file that was begun before and proves wrong is fetched once more, whole."""
    resumed = _size(part) > 0
    _download(url, part, rules, progress)
    try:
        accept(part)
    except AddressError:
        part.unlink(missing_ok=True)
        if not resumed:
            raise
        _complete(url, part, accept, rules, progress)


def _download(url: str, part: Path, rules: Rules, progress: Progress) -> None:
    begun = _size(part)
    answer = _open(url, part, begun, rules)
    if answer is None:
        return
    with answer:
        offset, total = _extent(answer, begun)
        _check_size(part, offset, total, rules)
        done = _receive(answer, part, offset, total, rules, progress)
    if total is not None and done < total:
        raise AddressError(f"ended after {done:,} of {total:,} bytes")


def _open(url: str, part: Path, begun: int, rules: Rules) -> http.client.HTTPResponse | None:
    """The answer whose body is to be received, or None where `part` has all of it."""
    headers = {"User-Agent": f"resnest-service/{__version__}"} | ({"Range": f"bytes={begun}-"} if begun else {})
    wanted = request.Request(url, headers=headers)  # noqa: S310 - the opener knows http and https only
    with _network_errors(rules):
        try:
            answer: http.client.HTTPResponse = _opener().open(wanted, timeout=rules.silence_s)
        except HTTPError as error:
            with error:
                if begun and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    _nothing_left(error.headers.get("Content-Range", ""), part, begun)
                    return None
                final = error.code < 500 and error.code not in PASSING
                raise AddressError(f"answered {error.code} {_reason(error.reason)}", final=final) from error
    return answer


def _nothing_left(content_range: str, part: Path, begun: int) -> None:
    """The server has no bytes after ours: either we have them all, or ours is another file."""
    known = UNSATISFIED_RANGE.fullmatch(content_range)
    if known and int(known[1]) == begun:
        return
    part.unlink()
    raise AddressError(f"has no more than the {begun:,} bytes that were fetched before")


def _extent(answer: http.client.HTTPResponse, begun: int) -> tuple[int, int | None]:
    """Where in the file the answer's body begins, and the file's size where that is told."""
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        told = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != begun:
            raise AddressError("sent another part of the file than was asked for", final=True)
        return begun, int(told[2])
    return 0, answer.length  # the whole file: ranges are not known here, or the whole was asked for


def _check_size(part: Path, offset: int, total: int | None, rules: Rules) -> None:
    if total is None:
        return
    if total > rules.max_bytes:
        raise AddressError(f"has {total:,} bytes, and {rules.max_bytes:,} are allowed", final=True)
    needed, free = rules.copies * total - offset, rules.free_bytes(part.parent)
    if needed > free:
        raise WeightsError(f"{part.parent} has room for {free:,} bytes, and {needed:,} are needed")


def _receive(
    answer: http.client.HTTPResponse, part: Path, offset: int, total: int | None, rules: Rules, progress: Progress
) -> int:
    """Write the body into `part` from `offset` on; the bytes that `part` has then."""
    done, watch = offset, _Watch(rules)
    with _disk_errors(part), part.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        progress(done, total)
        while chunk := _read(answer, rules):
            file.write(chunk)
            done += len(chunk)
            if done > rules.max_bytes:
                raise AddressError(f"sent more than the {rules.max_bytes:,} bytes that are allowed", final=True)
            progress(done, total)
            watch.saw(done - offset)
    return done


def _read(answer: http.client.HTTPResponse, rules: Rules) -> bytes:
    with _network_errors(rules):
        return answer.read1(CHUNK_BYTES)


class _Watch:
    """Sees that the bytes do not come too slowly, window by window."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._since, self._had = time.monotonic(), 0

    def saw(self, received: int) -> None:
        """Take note of the bytes received until now. Raises `AddressError` where they are too few."""
        elapsed = time.monotonic() - self._since
        if elapsed < self._rules.window_s:
            return
        if received - self._had < self._rules.slowest * elapsed:
            raise AddressError(f"sent fewer than {self._rules.slowest:,} bytes a second")
        self._since, self._had = time.monotonic(), received


@contextmanager
def _network_errors(rules: Rules) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise AddressError(f"was silent for {rules.silence_s:g} s") from error
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise AddressError(f"was silent for {rules.silence_s:g} s") from error
        raise AddressError(f"cannot be reached: {_reason(error.reason)}") from error
    except (OSError, http.client.HTTPException) as error:
        raise AddressError(f"broke off: {_reason(error)}") from error


@contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    """Turn the operating system's errors into `WeightsError`, and leave nothing that takes up a full disk."""
    try:
        yield
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{part.parent} cannot be written: {_reason(error)}") from error


def _reason(error: object) -> str:
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(told.split())


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


class Redirects(request.HTTPRedirectHandler):
    """Follows redirects, but not from an encrypted address to an open one."""

    def redirect_request(self, *args: Any) -> request.Request | None:
        """The request to make instead. Raises `AddressError`."""
        old, new = args[0].full_url, args[-1]
        if urlsplit(old).scheme == "https" and urlsplit(new).scheme != "https":
            raise AddressError(f"leads to an address that is not encrypted: {new}", final=True)
        return super().redirect_request(*args)


def _opener() -> request.OpenerDirector:
    """http and https, by way of the proxies of the environment; no files, no FTP, no cookies, no passwords."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
        Redirects(),
    ):
        opener.add_handler(handler)
    return opener
