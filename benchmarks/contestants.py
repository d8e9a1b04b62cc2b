"""Who takes part: how each is installed, started, asked and understood."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.bench import wire
from service.bench.corpus import Picture
from service.bench.wire import Request

HERE = Path(__file__).parent
VENVS = HERE / ".venvs"


@dataclass(frozen=True)
class Contestant:
    """A server: its program, where it listens for pictures, and the form's field (None: a raw body)."""

    name: str
    path: str
    field: str | None = None
    pinned: bool = True

    @property
    def python(self) -> Path:
        """Its interpreter: that of its own environment, or this one."""
        return VENVS / self.name / "bin" / "python" if self.pinned else Path(sys.executable)

    def install(self) -> None:
        """Make its environment: its pinned packages, and behind them what this interpreter has (torch, ourselves)."""
        if not self.pinned or self.python.exists():
            return
        subprocess.run([sys.executable, "-m", "venv", VENVS / self.name], check=True)  # noqa: S603
        requirements = HERE / "requirements" / f"{self.name}.txt"
        pip = [str(self.python), *("-m", "pip", "--disable-pip-version-check", "install", "--quiet")]
        subprocess.run([*pip, "-r", str(requirements)], check=True)  # noqa: S603
        site = VENVS / self.name / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
        (site / "shared.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")

    def start(self, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Run its program in a session of its own."""
        command = [str(self.python), "-m", f"benchmarks.servers.{self.name}_server"]
        told = {**os.environ, "PYTHONPATH": str(HERE.parent), **environment}
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603
                command, env=told, stdout=output, stderr=output, start_new_session=True, cwd=HERE.parent
            )

    def requests(self, port: int, pictures: Sequence[Picture]) -> list[Request]:
        """A request for each picture, in the form this server takes."""
        url = f"http://127.0.0.1:{port}{self.path}"
        if self.field is None:
            return [wire.post(url, each.content, each.media_type, {}) for each in pictures]
        return [wire.post(url, *wire.form([each], self.field), {}) for each in pictures]


def scores(document: Any) -> dict[int, float]:
    """The answer's score of each class it names, wherever the server puts them."""
    if isinstance(document, dict) and "class_id" in document:
        return {document["class_id"]: document["score"]}
    parts = document.values() if isinstance(document, dict) else document if isinstance(document, list) else []
    return {class_id: score for part in parts for class_id, score in scores(part).items()}


CONTESTANTS = {
    each.name: each
    for each in (
        Contestant("ours", "/v1/classify", pinned=False),
        Contestant("mosec", "/inference"),
        Contestant("litserve", "/predict", "file"),
        Contestant("fastapi", "/predict", "file", pinned=False),
    )
}
