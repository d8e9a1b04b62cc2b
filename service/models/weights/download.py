"""Download one file from the first of several URLs that serves all of it, with resume, size limits and timeouts.

The proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY are used. The caller's `accept` decides whether the file is right.
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
# The client errors (4xx) after which a retry may succeed.
TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
AUTHORIZATION = "Authorization"
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d+)")

Progress = Callable[[int, int | None], None]
Accept = Callable[[Path], None]


@dataclass(frozen=True)
class DownloadRules:
    """Timeouts, limits and retries of a download. `attempts` counts the passes over all URLs."""

    timeout_s: float = 30  # without a byte from the server
    rate_window_s: float = 60  # the average rate over this time must reach `min_bytes_per_s`
    min_bytes_per_s: int = 4096
    attempts: int = 3
    backoff_s: float = 1  # before the second attempt; doubled before each further one
    max_bytes: int = 2 << 30
    copies: int = 3  # disk space needed, in file sizes: the download, the file extracted from it, the converted file
    token: str | None = field(default=None, repr=False)  # of the server (RFC 6750); no other one gets it
    free_bytes: Callable[[Path], int] = field(default=lambda folder: shutil.disk_usage(folder).free)


class UnavailableError(WeightsError):
    """No URL served the file; the message names the failure of each."""


class DownloadError(Exception):
    """The download from one URL failed; `final` if a retry cannot help."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def fetch(urls: Sequence[str], part: Path, accept: Accept, rules: DownloadRules, progress: Progress) -> str:
    """Download into `part` from one of `urls` and return that URL. The bytes already in `part` are not fetched again.

    `accept` raises `DownloadError` if the file is not the right one, and the file is then deleted. `progress` gets the
    number of bytes so far and, if known, the total. Raises `UnavailableError` if every URL failed, and `WeightsError`
    if the file cannot be written. A file that a later call can resume is kept.
    """
    failures: dict[str, DownloadError] = {}
    for attempt in range(rules.attempts):
        candidates = [url for url in urls if url not in failures or not failures[url].final]
        if attempt and candidates:
            time.sleep(rules.backoff_s * 2 ** (attempt - 1))
        for url in candidates:
            try:
                _complete(url, part, accept, rules, progress)
            except DownloadError as error:
                failures[url] = error
            else:
                return url
    if _size(part) == 0:
        part.unlink(missing_ok=True)
    lines = "".join(f"\n  {url} {failure}" for url, failure in failures.items())
    raise UnavailableError(f"no URL served the file:{lines}")


def _complete(url: str, part: Path, accept: Accept, rules: DownloadRules, progress: Progress) -> None:
    """Download and check the file. A resumed file that is not accepted is downloaded once more from the start."""
    resumed = _size(part) > 0
    _download(url, part, rules, progress)
    try:
        accept(part)
    except DownloadError:
        part.unlink(missing_ok=True)
        if not resumed:
            raise
        _complete(url, part, accept, rules, progress)


def _download(url: str, part: Path, rules: DownloadRules, progress: Progress) -> None:
    begun = _size(part)
    response = _open(url, part, begun, rules)
    if response is None:
        return
    with response:
        offset, total = _extent(response, begun)
        _check_size(part, offset, total, rules)
        done = _receive(response, part, offset, total, rules, progress)
    if total is not None and done < total:
        raise DownloadError(f"ended after {done:,} of {total:,} bytes")


def _open(url: str, part: Path, begun: int, rules: DownloadRules) -> http.client.HTTPResponse | None:
    """Return the response whose body is to be received, or None if `part` is complete."""
    headers = {"User-Agent": f"resnest-service/{__version__}"} | ({"Range": f"bytes={begun}-"} if begun else {})
    wanted = request.Request(url, headers=headers)  # noqa: S310 - the opener allows only http and https
    if rules.token:
        wanted.add_unredirected_header(AUTHORIZATION, f"Bearer {rules.token}")
    with _network_errors(rules):
        try:
            response: http.client.HTTPResponse = _opener().open(wanted, timeout=rules.timeout_s)
        except HTTPError as error:
            with error:
                if begun and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    _check_complete(error.headers.get("Content-Range", ""), part, begun)
                    return None
                final = error.code < 500 and error.code not in TRANSIENT
                raise DownloadError(f"answered {error.code} {_reason(error.reason)}", final=final) from error
    return response


def _check_complete(content_range: str, part: Path, begun: int) -> None:
    """Check after a 416 that `part` is complete. Otherwise it is of another file: delete it, raise `DownloadError`."""
    known = UNSATISFIED_RANGE.fullmatch(content_range)
    if known and int(known[1]) == begun:
        return
    part.unlink()
    raise DownloadError(f"has no more than the {begun:,} bytes downloaded before")


def _extent(response: http.client.HTTPResponse, begun: int) -> tuple[int, int | None]:
    """Return the offset in the file at which the response body begins, and the size of the file if known."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        stated = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if stated is None or int(stated[1]) != begun:
            raise DownloadError("sent another range than was requested", final=True)
        return begun, int(stated[2])
    return 0, response.length  # the whole file: the server ignores ranges, or no range was requested


def _check_size(part: Path, offset: int, total: int | None, rules: DownloadRules) -> None:
    if total is None:
        return
    if total > rules.max_bytes:
        raise DownloadError(f"has {total:,} bytes; the limit is {rules.max_bytes:,}", final=True)
    needed, free = rules.copies * total - offset, rules.free_bytes(part.parent)
    if needed > free:
        raise WeightsError(f"{part.parent} has {free:,} bytes of free space, but {needed:,} are needed")


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    offset: int,
    total: int | None,
    rules: DownloadRules,
    progress: Progress,
) -> int:
    """Write the body into `part` from `offset` on, and return the size of `part`."""
    done, rate = offset, _RateCheck(rules)
    with _disk_errors(part), part.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        progress(done, total)
        while chunk := _read(response, rules):
            file.write(chunk)
            done += len(chunk)
            if done > rules.max_bytes:
                raise DownloadError(f"sent more than the limit of {rules.max_bytes:,} bytes", final=True)
            progress(done, total)
            rate.check(done - offset)
    return done


def _read(response: http.client.HTTPResponse, rules: DownloadRules) -> bytes:
    with _network_errors(rules):
        return response.read1(CHUNK_BYTES)


class _RateCheck:
    """Checks the average download rate, one time window after another."""

    def __init__(self, rules: DownloadRules) -> None:
        self._rules = rules
        self._window_start, self._before = time.monotonic(), 0

    def check(self, received: int) -> None:
        """Take the total of bytes received so far. Raises `DownloadError` if the last window was too slow."""
        elapsed = time.monotonic() - self._window_start
        if elapsed < self._rules.rate_window_s:
            return
        if received - self._before < self._rules.min_bytes_per_s * elapsed:
            raise DownloadError(f"sent fewer than {self._rules.min_bytes_per_s:,} bytes a second")
        self._window_start, self._before = time.monotonic(), received


@contextmanager
def _network_errors(rules: DownloadRules) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise DownloadError(f"sent nothing for {rules.timeout_s:g} s") from error
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise DownloadError(f"sent nothing for {rules.timeout_s:g} s") from error
        raise DownloadError(f"cannot be reached: {_reason(error.reason)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # the last: it is no URL
        raise DownloadError(f"failed: {_reason(error)}") from error


@contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    """Turn `OSError` into `WeightsError`, and delete the partial file, which would fill the disk."""
    try:
        yield
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{part.parent} cannot be written: {_reason(error)}") from error


def _reason(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


class Redirects(request.HTTPRedirectHandler):
    """Redirect handler that refuses a redirect from https to http, and sends a token to no other server."""

    def redirect_request(self, *args: Any) -> request.Request | None:
        """Return the request to follow. Raises `DownloadError`."""
        old, new = args[0], args[-1]
        if urlsplit(old.full_url).scheme == "https" and urlsplit(new).scheme != "https":
            where = new.partition("?")[0]  # without a signature
            raise DownloadError(f"redirects to a URL without encryption: {where}", final=True)
        followed = super().redirect_request(*args)
        token = old.get_header(AUTHORIZATION)
        if followed and token and _server(new) == _server(old.full_url):
            followed.add_unredirected_header(AUTHORIZATION, token)
        return followed


def _server(url: str) -> tuple[str, str]:
    """Return scheme, and host with port, of a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _opener() -> request.OpenerDirector:
    """Return an opener for http and https through the environment's proxies: no files, FTP, cookies or passwords."""
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
