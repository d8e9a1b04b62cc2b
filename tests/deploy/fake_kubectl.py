"""A `kubectl` for one HTTPRoute and two Deployments, whose state is a JSON file: the first argument is its path."""

import json
import sys
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


def main(path: Path, words: list[str]) -> None:
    """Do what the words of a command say."""
    state = json.loads(path.read_text(encoding="utf-8"))
    state["calls"].append(words)
    options = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
    match words[:2]:
        case ["get", "httproute"]:
            sys.stdout.write(json.dumps(state["route"]))
        case ["get", "deployment"]:
            pods = state["pods"][words[2]]
            sys.stdout.write(json.dumps({"spec": {"replicas": pods}, "status": {"readyReplicas": pods}}))
        case ["patch", "httproute"] if state["refuses"]:
            raise SystemExit("the server refuses")
        case ["patch", "httproute"]:
            patched(state["route"], json.loads(options["patch"]))
        case ["scale", target]:
            state["pods"][target.partition("/")[2]] = int(options["replicas"])
        case ["rollout", "status"]:
            pass
        case _:
            raise SystemExit(f"unknown: {words}")
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state), encoding="utf-8")
    new.rename(path)  # so that a reader never sees a part


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
