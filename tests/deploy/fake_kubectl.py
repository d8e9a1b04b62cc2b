"""A `kubectl` for a route, two Deployments and an autoscaler. The first argument is the file of their state."""

import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def patched(document: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    """Apply a JSON patch of `test` and `add` (RFC 6902) to members of objects."""
    for change in changes:
        *parents, last = change["path"].strip("/").split("/")
        place: Any = document
        for each in parents:
            place = place[int(each)] if isinstance(place, list) else place[each]
        if change["op"] == "test" and place[last] != change["value"]:
            raise SystemExit("the test of a patch failed")
        if change["op"] == "add":
            place[last] = change["value"]


def merged(document: dict[str, Any], changes: dict[str, Any]) -> None:
    """Apply a merge patch (RFC 7386) to an object."""
    for name, value in changes.items():
        if value is None:
            document.pop(name, None)
        elif isinstance(value, dict):
            merged(document.setdefault(name, {}), value)
        else:
            document[name] = value


@contextmanager
def changing(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the state, and write it at the end, also if the command fails. No other process changes it meanwhile."""
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(path.read_text(encoding="utf-8"))
        try:
            yield state
        finally:
            new = path.with_suffix(".new")
            new.write_text(json.dumps(state), encoding="utf-8")
            new.rename(path)  # so that a reader never sees a part


def read(state: dict[str, Any], kind: str, name: str) -> str:
    """Return an object of a kind as JSON; nothing if there is none."""
    if kind == "deployment":
        pods = state["pods"][name]
        status = {"readyReplicas": pods} if pods and name not in state["unready"] else {}
        return json.dumps({"spec": {"replicas": pods}, "status": status})
    found = state[{"httproute": "route", "hpa": "hpa"}[kind]]
    return json.dumps(found) if found else ""


def run(state: dict[str, Any], words: list[str]) -> None:
    """Do what the words of a command say."""
    state["calls"].append(words)
    options = dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))
    match words if words[0] in {"get", "rollout"} else words[:2]:
        case ["get", kind, name, *_]:
            sys.stdout.write(read(state, kind, name))
        case ["patch", "hpa"]:
            merged(state["hpa"], json.loads(options["patch"]))
        case ["patch", "httproute"] if state["refusals"]:
            state["refusals"] -= 1
            raise SystemExit("the server refuses")
        case ["patch", "httproute"]:
            patched(state["route"], json.loads(options["patch"]))
        case ["scale", target]:
            state["pods"][target.partition("/")[2]] = int(options["replicas"])
        case ["rollout", "status", target, *_]:
            if target.partition("/")[2] in state["unready"]:
                raise SystemExit("error: timed out waiting for the condition")
        case _:
            raise SystemExit(f"unknown: {words}")


if __name__ == "__main__":
    with changing(Path(sys.argv[1])) as found:
        run(found, sys.argv[2:])
