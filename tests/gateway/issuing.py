"""An issuer of tokens: its keys, and what it signs."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from service.gateway.tokens import Trust

ISSUER, AUDIENCE = "https://login.example/", "resnest"
TRUST = Trust(AUDIENCE, ISSUER, ("RS256", "ES256"), "scope", 30.0)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, name: str, **more: str) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": name, **more}


SET = {"keys": [jwk(RSA, "rsa", use="sig", alg="RS256"), jwk(CURVE, "curve", use="sig")]}


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones, changed; None leaves one out."""
    now = int(time.time())
    told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 600, "scope": "openid classify"} | changes
    return {name: value for name, value in told.items() if value is not None}


def signed(key: Any = RSA, name: str | None = "rsa", algorithm: str = "RS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": name} if name else {})
