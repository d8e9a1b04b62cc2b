"""Builds what authenticates and limits callers from the settings."""

from typing import Final

from service.config.api_keys import KeysError
from service.config.settings import Settings
from service.gateway.access.callers import Authenticator, Keyring, TokenVerifier
from service.gateway.access.token_bucket import LocalTokenBuckets, TokenBuckets
from service.gateway.metrics import Metrics

LEASE_SPARE_S: Final = 30.0  # added to the longest upload and the longest deadline


def longest_request_s(settings: Settings) -> float:
    """Return the seconds after which no request of that age is in progress any more."""
    return settings.upload_timeout_s + settings.max_request_timeout_s + LEASE_SPARE_S


def authenticator_of(settings: Settings, metrics: Metrics) -> Authenticator:
    """Return the authenticator for these settings. Raise `KeysError`."""
    has_keys = settings.keys.strip() or settings.keys_file
    set_stale = metrics.keys_stale.labels("keys").set
    keyring = Keyring(settings.keys, settings.keys_file, set_stale) if has_keys else None
    if keyring:
        metrics.set_at_scrape(metrics.next_key_expiry, keyring.next_expiry)
    return Authenticator(keyring, token_verifier_of(settings, metrics) if settings.jwt_keys else None)


def token_verifier_of(settings: Settings, metrics: Metrics) -> TokenVerifier:
    """Return the verifier of JSON Web Tokens for these settings. Raise `KeysError`."""
    try:
        from service.gateway.access.jwt import JwtRules, JwtVerifier  # noqa: PLC0415 - PyJWT is an extra
    except ModuleNotFoundError as error:
        raise KeysError(f"RESNEST_JWT_KEYS needs {error.name}: install resnest-service[jwt]") from error
    rules = JwtRules(
        settings.jwt_audience,
        settings.jwt_issuer,
        settings.jwt_algorithms,
        settings.jwt_scope_claim,
        settings.jwt_leeway_s,
    )
    return JwtVerifier(settings.jwt_keys, rules, metrics.keys_stale.labels("tokens").set)


def token_buckets_of(settings: Settings, metrics: Metrics) -> TokenBuckets:
    """Return the token buckets for these settings: in this process, or in Redis. Raise `KeysError`."""
    url = settings.redis_url.get_secret_value()
    if not url:
        return LocalTokenBuckets()
    try:
        from service.gateway.access.redis_bucket import RedisTokenBuckets  # noqa: PLC0415 - redis is an extra
    except ModuleNotFoundError as error:
        raise KeysError(f"RESNEST_REDIS_URL needs {error.name}: install resnest-service[redis]") from error
    fallback = LocalTokenBuckets() if settings.redis_fallback == "local" else None
    try:
        return RedisTokenBuckets(
            url,
            settings.redis_timeout_s,
            longest_request_s(settings),
            fallback,
            metrics.rate_limit_store_unavailable.set,
        )
    except ValueError as error:
        raise KeysError(f"RESNEST_REDIS_URL: {error}") from None
