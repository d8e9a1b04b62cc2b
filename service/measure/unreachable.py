"""Say in plain words why a service cannot be reached, and what to check, whichever library has asked it."""

import os
import ssl
from typing import Final

from service.errors import Unauthenticated

WAYS_OUT: Final = "start `resnest-service run` there, or name the address of a running service with --url"
KEY_SOURCE: Final = "This command sends the key of RESNEST_API_KEY or --api-key."


def way_out(code: str) -> str:
    """Return what follows the detail of a problem with this code: where the key comes from, if it is about the key."""
    return f" {KEY_SOURCE}" if code == Unauthenticated.code() else ""


def redirected(url: str, target: str) -> str:
    """Return what to do about a service that redirects to another address."""
    return f"{url} redirects to {target}; name the address of the service there with --url"


def reason(error: BaseException) -> str:
    """Return why a connection or a response failed: the operating system's words, without those of a library.

    aiohttp wraps the cause in `os_error` or `certificate_error`, and urllib in `reason`.
    """
    wrapped = (getattr(error, name, None) for name in ("os_error", "certificate_error", "reason"))
    cause = next((each for each in wrapped if isinstance(each, OSError)), error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({getattr(cause, 'verify_message', None) or cause.strerror})"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS connection ({getattr(cause, 'reason', None) or cause.strerror}); is it an http:// address?"
    if isinstance(cause, TimeoutError):
        return "it does not answer in time"
    if isinstance(cause, OSError) and cause.errno:
        is_lookup = cause.errno < 0  # of `getaddrinfo`, whose numbers `os.strerror` does not know
        return str(cause.strerror) if is_lookup else os.strerror(cause.errno)
    return " ".join(str(cause).split()) or type(cause).__name__
