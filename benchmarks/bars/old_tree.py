"""Measurements beside an older tree of this project, which runs in its own environment."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contest.contestants import ROOT, Contestant
from benchmarks.contest.runner import ContestError
from service.measure.load.corpus import Size
from service.models import cards

STORES = ROOT / "benchmarks" / "results"
PROGRAM = Path(__file__).with_name("engine_speed.py")
TURNS = 4  # of each tree in a measurement: A B B A A B B A
START = "ready"


@dataclass(frozen=True)
class OldTree:
    """A folder with the project's code and its environment in `.venv`."""

    root: Path

    @property
    def contestant(self) -> Contestant:
        """The service of the tree."""
        return Contestant("before", "{path}", pinned=False, program="ours", tree=self.root)

    @property
    def store(self) -> Path:
        """A store that it writes itself, because the fields of cards differ between trees. The tree stays unchanged."""
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]
        return STORES / f"store-{digest}"

    def check(self) -> None:
        """Make its models. Raises `ContestError` if the tree has no environment, or cannot make them."""
        python = self.contestant.python
        if not python.is_file():
            raise ContestError(f"{self.root} has no environment: there is no {python}")
        done = subprocess.run(  # noqa: S603 - a program of this project
            [python, "-m", "benchmarks.made_models", self.store],
            env={**os.environ, "PYTHONPATH": str(self.root)},
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ContestError(f"{self.root} cannot make its models: {done.stderr.strip().splitlines()[-1:]}")


def engine_rates(
    folder: Path, size: Size, trees: Sequence[OldTree], variables: Mapping[str, str], seconds: float
) -> list[dict[str, float]]:
    """Return images, seconds and CPU seconds of the engine of this tree and of `trees`, which take turns.

    `folder` is that of the card, whose batch size counts. The images have this width and height. `seconds` are those of
    each tree, together. Raises `ContestError` if an engine does not load.
    """
    words = (f"{size[0]}x{size[1]}", str(cards.read(folder).serving.batch_size))
    with ExitStack() as stack:
        ours = Contestant("ours", "", pinned=False)
        folders = [(ours, folder), *((each.contestant, each.store / folder.name) for each in trees)]
        programs = [
            stack.enter_context(_program(each, (str(each_folder.resolve()), *words), variables))
            for each, each_folder in folders
        ]
        found: list[dict[str, float]] = [{"images": 0, "seconds": 0, "cpu_s": 0} for _ in programs]
        for turn in range(TURNS):
            order = list(enumerate(programs))
            for index, program in order if turn % 2 == 0 else reversed(order):
                for name, value in _ask(program, str(seconds / TURNS)).items():
                    found[index][name] += value
    return found


@contextmanager
def _program(each: Contestant, words: Sequence[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(  # noqa: S603 - a program of this project
        [each.python, "-P", PROGRAM, *words],
        env={**os.environ, **variables, "PYTHONPATH": str(each.tree)},
        cwd=each.tree,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            if process.stdout.readline().strip() != START:
                raise ContestError(f"the engine of {each.tree} does not load {words[0]}")
            yield process
        finally:
            process.kill()


def _ask(process: subprocess.Popen[str], line: str) -> dict[str, float]:
    """Let a program run once. Raises `ContestError` if it ends instead."""
    if process.stdin is None or process.stdout is None:
        raise ContestError("a program has no pipes")
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    answer: Any = process.stdout.readline()
    if not answer:
        raise ContestError(f"the engine ended: exit code {process.wait()}")
    found: dict[str, float] = json.loads(answer)
    return found
