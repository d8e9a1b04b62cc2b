"""Downloads of one file from several URLs, with faults of the servers."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.request import Request

import numpy as np
import pytest

from service.models.weights.checksums import WeightsError
from service.models.weights.download import DownloadError, Redirects, UnavailableError, fetch
from tests.models.weights.conftest import HASTY, full_disk
from tests.models.weights.misbehaving import Server, serving

TOKEN = "secret-3.14"  # noqa: S105 - of a server that ends with its test
DATA = np.random.default_rng(5).bytes(5000)


def seen(_done: int, _total: int | None) -> None:
    """Ignore progress."""


def only(data: bytes) -> Callable[[Path], None]:
    """Return an `accept` function for a file of these bytes."""

    def accept(part: Path) -> None:
        if part.read_bytes() != data:
            raise DownloadError("sent something else", final=True)

    return accept


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


@pytest.fixture(autouse=True)
def _file(server: Server) -> None:
    server.files["file"] = DATA


@pytest.mark.parametrize("behaviour", ["whole", "without-ranges", "without-length", "redirect", "cut"])
def test_a_file_arrives_whole(server: Server, part: Path, behaviour: str) -> None:
    rules = replace(HASTY, attempts=4)
    assert fetch([server.url(behaviour)], part, only(DATA), rules, seen) == server.url(behaviour)
    assert part.read_bytes() == DATA


def test_what_is_there_is_not_fetched_again(server: Server, part: Path) -> None:
    part.write_bytes(DATA[:3000])
    fetch([server.url("whole")], part, only(DATA), HASTY, seen)
    assert part.read_bytes() == DATA
    assert server.requests == [("/whole/file", "bytes=3000-")]


def test_a_download_that_was_cut_off_goes_on_where_it_ended(server: Server, part: Path) -> None:
    fetch([server.url("cut")], part, only(DATA), replace(HASTY, attempts=4), seen)
    assert part.read_bytes() == DATA
    assert [span for _, span in server.requests] == [None, "bytes=2500-", "bytes=3750-", "bytes=4375-"]


def test_another_address_goes_on_where_the_first_ended(server: Server, part: Path) -> None:
    fetch([server.url("cut"), server.url("whole")], part, only(DATA), HASTY, seen)
    assert part.read_bytes() == DATA
    assert server.requests == [("/cut/file", None), ("/whole/file", "bytes=2500-")]


def test_a_server_without_ranges_sends_the_whole_again(server: Server, part: Path) -> None:
    part.write_bytes(b"x" * 3000)
    fetch([server.url("without-ranges")], part, only(DATA), HASTY, seen)
    assert part.read_bytes() == DATA


def test_a_file_that_is_there_whole_is_taken_as_it_is(server: Server, part: Path) -> None:
    part.write_bytes(DATA)
    fetch([server.url("whole")], part, only(DATA), HASTY, seen)
    assert len(server.requests) == 1


@pytest.mark.parametrize("begun", [b"x" * 3000, b"x" * 5000, b"x" * 6000], ids=["shorter", "as long", "longer"])
def test_a_beginning_of_another_file_is_thrown_away(server: Server, part: Path, begun: bytes) -> None:
    part.write_bytes(begun)
    fetch([server.url("whole")], part, only(DATA), HASTY, seen)
    assert part.read_bytes() == DATA


PATIENT = replace(HASTY, timeout_s=10)
FAULTS = {
    "403": "answered 403 Forbidden",
    "404": "answered 404 Not Found",
    "500": "answered 500 Internal Server Error",
    "cut-without-ranges": "ended after 2,500 of 5,000 bytes",
    "silent": "sent nothing for 0.5 s",
    "stalled": "sent nothing for 0.5 s",
    "slow": "sent fewer than 1,000 bytes a second",
    "huge": "has 1,000,000,000,000,000 bytes; the limit is 134,217,728",
    "endless": "sent more than the limit of 134,217,728 bytes",
    "page": "sent something else",
    "other-bytes": "sent something else",
    "short-length": "sent something else",
    "nonsense": "failed: 220 smtp.example.org ESMTP",
    "loop": "redirect error",
    "to-a-file": "answered 302",
    "to-no-port": "failed: nonnumeric port: 'x'",
}
SLOW = ("silent", "stalled", "slow")  # faults that end by a time limit


@pytest.mark.parametrize("behaviour", FAULTS)
def test_what_an_address_does_wrong_is_told_in_words(server: Server, part: Path, behaviour: str) -> None:
    rules = replace(HASTY if behaviour in SLOW else PATIENT, attempts=1)
    with pytest.raises(UnavailableError) as caught:
        fetch([server.url(behaviour)], part, only(DATA), rules, seen)
    assert f"{server.url(behaviour)} " in str(caught.value)
    assert FAULTS[behaviour] in str(caught.value)


@pytest.mark.parametrize("behaviour", FAULTS)
def test_the_next_address_is_tried_after_any_fault(server: Server, part: Path, behaviour: str) -> None:
    urls = [server.url(behaviour), server.url("whole")]
    assert fetch(urls, part, only(DATA), HASTY, seen) == urls[1]
    assert part.read_bytes() == DATA


def test_a_part_of_the_file_that_was_not_asked_for_is_refused(server: Server, part: Path) -> None:
    part.write_bytes(DATA[:3000])
    with pytest.raises(UnavailableError, match="sent another range than was requested"):
        fetch([server.url("other-part")], part, only(DATA), HASTY, seen)
    assert part.read_bytes() == DATA[:3000]


def test_an_address_that_is_no_url_is_told_in_words(part: Path) -> None:
    """As a server may redirect to it."""
    with pytest.raises(UnavailableError, match="failed: 'ascii' codec can't encode"):
        fetch(["http://127.0.0.1:9/gewichte-ä"], part, only(DATA), HASTY, seen)


def test_an_address_where_nobody_listens_is_told_in_words(part: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnavailableError, match="cannot be reached: Connection refused"):
        fetch([f"http://127.0.0.1:{port}/file"], part, only(DATA), HASTY, seen)
    assert not part.exists()


@pytest.mark.parametrize(("behaviour", "times"), [("403", 1), ("404", 1), ("page", 1), ("500", 3), ("silent", 3)])
def test_only_what_may_pass_is_asked_for_again(server: Server, part: Path, behaviour: str, times: int) -> None:
    with pytest.raises(UnavailableError):
        fetch([server.url(behaviour)], part, only(DATA), replace(HASTY, attempts=3, timeout_s=0.1), seen)
    assert len(server.requests) == times


def test_every_address_is_named_where_none_gave_the_file(server: Server, part: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        fetch([server.url("403"), server.url("500")], part, only(DATA), HASTY, seen)
    assert len(str(caught.value).splitlines()) == 3


def test_a_file_that_can_be_continued_is_kept_and_a_wrong_one_is_not(server: Server, part: Path) -> None:
    with pytest.raises(UnavailableError):
        fetch([server.url("cut-without-ranges")], part, only(DATA), HASTY, seen)
    assert part.read_bytes() == DATA[:2500]
    part.unlink()
    with pytest.raises(UnavailableError):
        fetch([server.url("page")], part, only(DATA), HASTY, seen)
    assert not part.exists()


def test_progress_is_told_from_what_is_there_to_the_end(server: Server, part: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    part.write_bytes(DATA[:3000])
    fetch([server.url("whole")], part, only(DATA), HASTY, lambda done, total: calls.append((done, total)))
    assert calls[0] == (3000, 5000)
    assert calls[-1] == (5000, 5000)
    assert calls == sorted(calls)


def test_a_proxy_of_the_environment_is_used(server: Server, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    fetch(["http://weights.example/whole/file"], part, only(DATA), HASTY, seen)
    assert part.read_bytes() == DATA


def test_no_proxy_is_used_where_the_environment_says_so(
    server: Server, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # the port of the `discard` service, where no server listens
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetch([server.url("whole")], part, only(DATA), HASTY, seen)
    assert part.read_bytes() == DATA


def test_a_redirect_from_an_encrypted_address_to_an_open_one_is_refused() -> None:
    request = Request("https://weights.example/file")
    with pytest.raises(DownloadError, match="redirects to a URL without encryption"):
        Redirects().redirect_request(request, None, 302, "Found", {}, "http://weights.example/file")


def test_the_refusal_of_a_redirect_does_not_repeat_a_signature() -> None:
    request = Request("https://weights.example/file")
    with pytest.raises(DownloadError, match=r"without encryption: http://weights\.example/file$"):
        Redirects().redirect_request(request, None, 302, "Found", {}, "http://weights.example/file?signature=abc")


def test_a_token_is_sent_with_each_request_to_its_server(server: Server, part: Path) -> None:
    rules = replace(HASTY, attempts=4, token=TOKEN)
    server.files["other"] = DATA
    for url in (server.url("private"), server.url("redirect"), server.url("cut", "other")):
        part.unlink(missing_ok=True)
        fetch([url], part, only(DATA), rules, seen)
    assert [path for path, _ in server.requests][:3] == ["/private/file", "/redirect/file", "/whole/file"]
    assert len(server.requests) > 4, "also to go on after a cut"
    assert {*server.tokens} == {f"Bearer {TOKEN}"}


def test_a_token_is_not_sent_to_a_server_to_which_its_own_redirects(server: Server, part: Path) -> None:
    """Another port counts, as in browsers: an object store with a signature in the URL refuses a request with both."""
    with serving() as other:
        other.files["file"] = DATA
        server.elsewhere, other.elsewhere = other.url("elsewhere"), server.url("whole")
        fetch([server.url("elsewhere")], part, only(DATA), replace(HASTY, token=TOKEN), seen)
        assert part.read_bytes() == DATA
        assert other.tokens == [None]
        assert server.tokens == [f"Bearer {TOKEN}", None], "nor back to the first, for which the second one asks"


def test_a_server_that_wants_a_token_is_told_from_one_that_has_no_such_file(server: Server, part: Path) -> None:
    with pytest.raises(UnavailableError, match="answered 401 Unauthorized"):
        fetch([server.url("private")], part, only(DATA), HASTY, seen)


@pytest.mark.parametrize("behaviour", ["403", "500", "nonsense", "loop", "page", "elsewhere"])
def test_no_message_has_the_token(server: Server, part: Path, behaviour: str) -> None:
    server.elsewhere = "http://127.0.0.1:9/file"
    rules = replace(HASTY, attempts=1, token=TOKEN)
    with pytest.raises(UnavailableError) as caught:
        fetch([server.url(behaviour)], part, only(DATA), rules, seen)
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(rules)


def test_a_download_that_finds_no_room_is_not_begun(server: Server, part: Path) -> None:
    rules = replace(HASTY, free_bytes=lambda _: 14_999)
    with pytest.raises(WeightsError, match="has 14,999 bytes of free space, but 15,000 are needed"):
        fetch([server.url("whole")], part, only(DATA), rules, seen)
    assert not part.exists()


def test_a_disk_that_fills_up_is_told_and_given_its_room_back(server: Server, part: Path) -> None:
    with full_disk(1000), pytest.raises(WeightsError, match="cannot be written: File too large") as caught:
        fetch([server.url("whole"), server.url("whole")], part, only(DATA), HASTY, seen)
    assert not isinstance(caught.value, UnavailableError)
    assert len(server.requests) == 1
    assert not part.exists()
