"""API keys: their lines, the search for a key, and the addresses that require keys."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config import api_keys
from service.config.api_keys import (
    Key,
    KeysError,
    Quota,
    check_exposure,
    digest,
    find,
    is_loopback,
    new_secret,
    parse,
    scopes,
)

DIGEST = "0" * 64
EVERY = st.builds(
    Key,
    st.from_regex(api_keys.NAME, fullmatch=True).filter(lambda name: name not in api_keys.RESERVED),
    st.frozensets(st.sampled_from(scopes()), min_size=1),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.builds(
        Quota,
        st.none() | st.floats(0.001, 1e5),
        st.none() | st.integers(1, 10_000),
        st.none() | st.integers(1, 10_000),
    ),
    st.none() | st.dates(),
)


@given(st.lists(EVERY, unique_by=lambda key: key.digest, max_size=4))
def test_keys_are_read_as_they_were_written(written: list[Key]) -> None:
    assert list(parse("\n\n# a comment\n".join(key.line() for key in written))) == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web classify", "line 1: a key needs a name, scopes and a digest"),
        (f"\nWeb classify {DIGEST}", "line 2: the name must be"),
        (f"anonymous classify {DIGEST}", "line 1: the name must be"),
        (f"{'x' * 33} classify {DIGEST}", "line 1: the name must be"),
        (f"web paint {DIGEST}", "line 1: the scopes are classify, segment, detect, admin"),
        (f"web classify, {DIGEST}", "line 1: the scopes are"),
        ("web classify rsn_s3cret", "line 1: the digest must be a SHA-256"),
        (f"web classify {DIGEST} rate=0", "line 1: rate has an invalid value"),
        (f"web classify {DIGEST} rate=inf", "line 1: rate has an invalid value"),
        (f"web classify {DIGEST} burst=-1", "line 1: burst has an invalid value"),
        (f"web classify {DIGEST} concurrency=1.5", "line 1: concurrency has an invalid value"),
        (f"web classify {DIGEST} expires=soon", "line 1: expires has an invalid value"),
        (f"web classify {DIGEST} speed=1", "line 1: the options are rate, burst, concurrency, expires"),
        (f"a classify {DIGEST}\nb segment {DIGEST}", "a key appears twice"),
        ("\n".join(f"a admin {number:064x}" for number in range(api_keys.MAX_KEYS + 1)), "there are 1001 keys"),
    ],
)
def test_a_line_that_is_no_key_is_told_by_its_number_and_without_the_key(text: str, message: str) -> None:
    with pytest.raises(KeysError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)
    assert "s3cret" not in str(caught.value)


def test_a_secret_is_long_new_and_marked() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(secret.startswith(api_keys.PREFIX) and len(secret) >= 43 + len(api_keys.PREFIX) for secret in made)


def test_a_key_is_found_by_its_secret_and_by_nothing_else() -> None:
    first, second = (Key(name, frozenset(scopes()), digest(name * 20)) for name in ("a", "b"))
    assert find([first, second], "a" * 20) == first
    assert find([first, second], "b" * 20) == second
    for wrong in ("", "a" * 19, first.digest, "ä\udcff"):
        assert find([first, second], wrong) is None


def test_two_keys_of_one_name_are_good_at_one_time() -> None:
    both = parse(f"web classify {digest('old')}\nweb classify {digest('new')}")
    assert [key.name for secret in ("old", "new") if (key := find(both, secret))] == ["web", "web"]


def test_a_key_is_good_to_the_end_of_its_last_day() -> None:
    (key,) = parse(f"web classify {digest('x')} expires=2030-01-31")
    assert find([key], "x", date(2030, 1, 31)) == key
    assert find([key], "x", date(2030, 2, 1)) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_this_machine_alone(host: str) -> None:
    assert is_loopback(host)
    check_exposure(host, protected=False, waived=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "a..b"])
def test_any_other_address_needs_keys_or_a_waiver(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(KeysError, match="keys new"):
        check_exposure(host, protected=False, waived=False)
    check_exposure(host, protected=True, waived=False)
    check_exposure(host, protected=False, waived=True)
