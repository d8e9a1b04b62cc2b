"""Removes the variables that Kubernetes sets for a Service named `resnest`, because they look like settings.

For each Service in a namespace, Kubernetes gives every pod variables such as `RESNEST_PORT=tcp://10.0.0.1:8000`.
"""

import re
from collections.abc import MutableMapping

PREFIX = "RESNEST_"
LINK = re.compile(r"(tcp|udp|sctp)://[^/]+:\d+")
PARTS = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))")


def remove(environment: MutableMapping[str, str]) -> str | None:
    """Remove these variables, and return a warning that names those that a setting would be read from; None if none."""
    links = [
        name
        for name, value in environment.items()
        if name.startswith(PREFIX) and (LINK.fullmatch(value) or PARTS.fullmatch(name))
    ]
    for name in links:
        del environment[name]
    ports = sorted(name for name in links if name.endswith("_PORT") and not PARTS.fullmatch(name))
    if not ports:
        return None
    return (
        f"ignoring {', '.join(ports)}: Kubernetes sets it for a Service of that name. "
        "Set enableServiceLinks: false in the pod, or give the Service another name."
    )
