"""Verification of tokens: valid tokens, and every kind of invalid token."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from service.gateway.access.jwt import JwtRules, JwtVerifier
from tests.gateway.fixtures.token_issuer import AUDIENCE, CURVE, ISSUER, OTHER, RSA, SET, TRUST, claims, jwk, signed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A key set in a file."""
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(SET), encoding="utf-8")
    return path


@pytest.fixture
def verifier(file: Path) -> JwtVerifier:
    """A verifier with that key set."""
    return JwtVerifier(str(file), TRUST, int)


@pytest.mark.parametrize(("key", "name", "algorithm"), [(RSA, "rsa", "RS256"), (CURVE, "curve", "ES256")])
def test_a_good_token_tells_its_subject_and_those_of_its_scopes_that_are_ours(
    key: Any, name: str, algorithm: str, verifier: JwtVerifier
) -> None:
    caller = verifier.verify(signed(key, name, algorithm))

    assert caller is not None
    assert (caller.name, caller.label, caller.scopes) == ("ada", "token", frozenset({"classify"}))


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("classify segment", {"classify", "segment"}),
        (["segment", "read"], {"segment"}),
        ([["segment"], 7, None], set()),
        ("Classify classify:all", set()),
        (None, set()),
        ({"classify": True}, set()),
        (7, set()),
    ],
)
def test_scopes_are_words_or_a_list(claim: Any, scopes: set[str], verifier: JwtVerifier) -> None:
    caller = verifier.verify(signed(scope=claim))

    assert caller is not None
    assert caller.scopes == scopes


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1_000_000_000},
        {"exp": None},
        {"exp": "tomorrow"},
        {"nbf": 10_000_000_000},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"iss": "https://evil.example/"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a" * 257},
    ],
    ids=str,
)
def test_a_token_whose_claims_are_not_good_is_none(changes: dict[str, Any], verifier: JwtVerifier) -> None:
    assert verifier.verify(signed(**changes)) is None


def test_a_clock_may_be_off_by_the_leeway_and_no_more(verifier: JwtVerifier) -> None:
    assert verifier.verify(signed(exp=int(time.time()) - 5)) is not None
    assert verifier.verify(signed(exp=int(time.time()) - 31)) is None


def by_hand(header: dict[str, Any], signature: bytes = b"") -> str:
    """Return a token that no library would create."""
    parts = [json.dumps(header).encode(), json.dumps(claims()).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


PUBLIC_PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def forged_with_the_public_key() -> str:
    """Return a token that is signed with the public key as an HMAC secret."""
    head, body, _ = by_hand({"alg": "HS256", "kid": "rsa"}).split(".")
    mac = hmac.digest(PUBLIC_PEM, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


FORGED: dict[str, Callable[[], str]] = {
    "by another key": lambda: signed(OTHER),
    "by the other key's name": lambda: signed(RSA, "curve"),
    "by an unknown key name": lambda: signed(RSA, "gone"),
    "without a name where there are several keys": lambda: signed(RSA, None),
    "by an algorithm that is not allowed": lambda: signed(RSA, "rsa", "RS512"),
    "none": lambda: by_hand({"alg": "none", "kid": "rsa"}),
    "None": lambda: by_hand({"alg": "None", "kid": "rsa"}),
    "no algorithm": lambda: by_hand({"kid": "rsa"}),
    "unsigned": lambda: by_hand({"alg": "RS256", "kid": "rsa"}),
    "a public key as a secret": forged_with_the_public_key,
    "a key of its own": lambda: jwt.encode(
        claims(), OTHER, "RS256", headers={"kid": "rsa", "jwk": jwk(OTHER, "rsa"), "jku": "https://evil.example/"}
    ),
    "a name that is no text": lambda: by_hand({"alg": "RS256", "kid": 7}),
    "critical": lambda: jwt.encode(claims(), RSA, "RS256", headers={"kid": "rsa", "crit": ["x"], "x": 1}),
    "changed": lambda: signed()[:-8] + "AAAAAAAA",
    "two parts": lambda: ".".join(signed().split(".")[:2]),
    "dots": lambda: "..",
    "deep": lambda: base64.urlsafe_b64encode(b"[" * 20_000).decode() + ".e30.",
    "not ASCII": lambda: "ä.ö.ü",
    "a key": lambda: "rsn_s3cret",
}


@pytest.mark.parametrize("how", FORGED)
def test_a_token_that_its_issuer_did_not_sign_is_none(how: str, verifier: JwtVerifier) -> None:
    assert verifier.verify(FORGED[how]()) is None


def test_a_lone_key_needs_no_name(file: Path) -> None:
    file.write_text(json.dumps({"keys": [jwk(RSA, "rsa")]}), encoding="utf-8")

    assert JwtVerifier(str(file), TRUST, int).verify(signed(RSA, None)) is not None


def test_edwards_curves_work_where_they_are_allowed(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "jwks.json"
    described = {**json.loads(OKPAlgorithm.to_jwk(key.public_key())), "kid": "ed"}
    path.write_text(json.dumps({"keys": [described]}), encoding="utf-8")

    found = JwtVerifier(str(path), JwtRules(AUDIENCE, ISSUER, ("EdDSA",), "scope", 0.0), int).verify(
        signed(key, None, "EdDSA")
    )

    assert found is not None
