"""Callers: API keys in headers, and the reload of a file of keys."""

import logging
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from service.config.api_keys import KeysError, Quota, digest, scopes
from service.errors import Unauthenticated
from service.gateway.access.callers import Authenticator, Caller, Keyring
from tests.gateway.conftest import until
from tests.gateway.fixtures.running_tasks import running_task

EXPIRING = {"old": "2026-11-29", "next": "2026-12-24", "later": "2027-01-31"}
LINE = f"web classify {digest('s3cret')}\n"


def ring(text: str = LINE, file: Path | None = None, set_stale: Callable[[int], object] = int) -> Keyring:
    return Keyring(text, file, set_stale, reload_s=0.01)


def test_without_keys_everybody_may_do_everything_and_is_known_by_address() -> None:
    expected = Caller("192.0.2.7", "anonymous", frozenset(scopes()))

    assert Authenticator(None).identify(Headers({}), "192.0.2.7") == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer s3cret"},
        {"Authorization": "bearer  s3cret"},
        {"X-API-Key": "s3cret"},
        {"X-API-Key": "s3cret", "Authorization": "Basic d2ViOng="},
        {"X-API-Key": "s3cret", "Authorization": "Bearer a-proxys-own"},
    ],
)
def test_a_key_comes_as_a_bearer_token_or_in_a_header_of_its_own(headers: dict[str, str]) -> None:
    found = Authenticator(ring()).identify(Headers(headers), "")

    assert (found.name, found.label, found.scopes) == ("web", "web", frozenset({"classify"}))


def test_the_next_key_to_expire_does_so_at_the_end_of_its_last_day() -> None:
    """An alert reads this. A key that has expired already is not the next one."""
    lines = [f"{name} classify {digest(name)} expires={day}" for name, day in EXPIRING.items()]
    keys = ring("\n".join([LINE.strip(), *lines]))

    assert keys.next_expiry(date(2026, 11, 30)) == datetime(2026, 12, 25, tzinfo=UTC).timestamp()
    assert keys.next_expiry(date(2026, 12, 24)) == datetime(2026, 12, 25, tzinfo=UTC).timestamp()
    assert keys.next_expiry(date(2026, 12, 25)) == datetime(2027, 2, 1, tzinfo=UTC).timestamp()
    assert keys.next_expiry(date(2027, 2, 1)) == math.inf


def test_a_caller_has_the_limits_of_its_key() -> None:
    keys = ring(LINE.strip() + " rate=2.5 burst=4 concurrency=3")

    assert Authenticator(keys).identify(Headers({"X-API-Key": "s3cret"}), "").quota == Quota(2.5, 4, 3)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing"),
        ({"Authorization": "Basic s3cret"}, "missing"),
        ({"Authorization": "Bearer"}, "missing"),
        ({"Authorization": "Bearer "}, "missing"),
        ({"X-API-Key": ""}, "missing"),
        ({"X-API-Key": "s3cret2"}, "invalid"),
        ({"X-API-Key": digest("s3cret")}, "invalid"),
        ({"Authorization": "Bearer \xff\x00"}, "invalid"),
    ],
)
def test_a_request_without_a_good_key_is_told_which_is_the_case(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        Authenticator(ring()).identify(Headers(headers), "")
    assert caught.value.members["reason"] == reason


@pytest.mark.parametrize(
    ("headers", "query", "explained"),
    [
        ({}, b"", "The request has no key."),
        ({}, b"top_k=3&lang=key", "The request has no key."),
        ({"Authorization": "Bearer "}, b"", "no key after `Bearer`"),
        ({"Authorization": "rsn_s3cret"}, b"", "lacks the scheme `Bearer`"),
        ({"Authorization": "Basic cnNuX3MzY3JldA=="}, b"", "another scheme than `Bearer`"),
        ({"Authorization": "Token s3cret"}, b"key=s3cret", "another scheme than `Bearer`"),
        ({}, b"api_key=rsn_s3cret", "A key in the URL is not read"),
        ({}, b"top_k=3&KEY=s3cret", "A key in the URL is not read"),
        ({}, b"access_token=s3cret", "A key in the URL is not read"),
    ],
)
def test_a_request_without_a_key_is_told_why_and_how_to_send_one_but_not_what_it_sent(
    headers: dict[str, str], query: bytes, explained: str
) -> None:
    with pytest.raises(Unauthenticated) as caught:
        Authenticator(ring()).identify(Headers(headers), "", query)

    assert explained in caught.value.detail
    assert caught.value.detail.endswith("Send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`.")
    assert not any(sent in caught.value.detail for sent in ("s3cret", "cnNuX3MzY3JldA=="))


def test_a_scheme_before_the_key_in_its_own_header_is_explained() -> None:
    with pytest.raises(Unauthenticated, match="takes the key alone, without `Bearer`") as caught:
        Authenticator(ring()).identify(Headers({"X-API-Key": "Bearer s3cret"}), "")

    assert "s3cret" not in caught.value.detail


def test_keys_of_the_environment_and_of_the_file_are_both_in_force(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"other segment {digest('other')}\n", encoding="utf-8")

    keys = ring(LINE, file)

    assert [key.name for secret in ("s3cret", "other") if (key := keys.find(secret))] == ["web", "other"]


@pytest.mark.parametrize("content", [None, b"", b"# none\n", b"web classify s3cret\n", b"\xff\xfe"])
def test_keys_that_cannot_be_read_at_the_start_are_an_error_without_the_key(
    content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(KeysError, match=str(file)) as caught:
        ring("", file)
    assert "s3cret" not in str(caught.value)


@pytest.mark.anyio
async def test_a_file_that_changes_is_in_force_without_a_restart(tmp_path: Path) -> None:
    first, second, link = tmp_path / "1", tmp_path / "2", tmp_path / "keys"
    first.write_text(LINE, encoding="utf-8")
    link.symlink_to(first)
    keys = ring("", link)

    async with running_task(keys.watch()):
        first.write_text(LINE + f"web classify {digest('next')}\n", encoding="utf-8")
        await until(lambda: keys.find("next"), 30)
        assert keys.find("s3cret"), "two keys of one caller are valid at the same time"

        # Kubernetes changes a mounted Secret like this.
        second.write_text(f"web classify {digest('next')}\n", encoding="utf-8")
        (tmp_path / "new").symlink_to(second)
        (tmp_path / "new").rename(link)
        await until(lambda: not keys.find("s3cret"), 30)
        assert keys.find("next")

        second.write_text("", encoding="utf-8")
        await until(lambda: not keys.find("next"), 30)


@pytest.mark.anyio
async def test_a_file_that_cannot_be_read_any_more_leaves_the_former_keys_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text(LINE, encoding="utf-8")
    stale: list[int] = []
    keys = ring("", file, stale.append)

    async with running_task(keys.watch()):
        with caplog.at_level(logging.ERROR):
            file.write_text("web classify rsn_pr1vate\n", encoding="utf-8")
            await until(lambda: stale == [1], 30)
        assert keys.find("s3cret")
        assert "line 1" in caplog.text
        assert "pr1vate" not in caplog.text

        file.unlink()
        await until(lambda: stale == [1, 1], 30)
        file.write_text(LINE, encoding="utf-8")
        await until(lambda: stale == [1, 1, 0], 30)
