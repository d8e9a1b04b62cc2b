"""Who takes part: how each is installed, started, asked and understood."""

import base64
import json
import os
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from service.measure.load import http_connection
from service.measure.load.corpus import Upload
from service.measure.load.http_connection import Request
from service.tasks import TASKS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENVS = ROOT / "benchmarks" / ".venvs"

Ask = Callable[[str, Upload], Request]


def raw(url: str, picture: Upload) -> Request:
    """The picture is the body."""
    return http_connection.post(url, picture.content, picture.media_type, {})


def field(name: str) -> Ask:
    """The picture is a form's field."""
    return lambda url, picture: http_connection.post(url, *http_connection.form([picture], name), {})


def base64_tensor(url: str, picture: Upload) -> Request:
    """A tensor of one string in JSON, by the Open Inference Protocol and MLServer's content types."""
    text = base64.b64encode(picture.content).decode("ascii")
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "base64"}}
    return http_connection.post(url, json.dumps({"inputs": [{**tensor, "data": [text]}]}).encode(), "application/json", {})


def binary_tensor(url: str, picture: Upload) -> Request:
    """A tensor of one string and two axes, as servers of batches want it, answered in JSON."""
    told = {"name": "answer", "parameters": {"binary_data": False}}
    return behind(url, picture, [1, 1], {}, outputs=[told])


def behind(url: str, picture: Upload, shape: Sequence[int], headers: Mapping[str, str], **also: Any) -> Request:
    """A tensor of one string behind its description, by the Open Inference Protocol's binary extension."""
    data = struct.pack("<I", len(picture.content)) + picture.content
    tensor = {"name": "image", "shape": shape, "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], **also}).encode()
    told = {**headers, "Inference-Header-Content-Length": str(len(head))}
    return http_connection.post(url, head + data, "application/octet-stream", told)


@dataclass(frozen=True)
class Contestant:
    """A server: its program, where it listens for pictures, how it takes them, and whether it has its own packages."""

    name: str
    path: str
    ask: Ask = raw
    pinned: bool = True
    package: str = ""  # its name in the package index, where that is another

    @property
    def python(self) -> Path:
        """Its interpreter: that of its own environment, or this one."""
        return VENVS / self.name / "bin" / "python" if self.pinned else Path(sys.executable)

    @property
    def version(self) -> str:
        """Of its package: the pinned one, or the one that is here."""
        package = self.package or self.name
        if not self.pinned:
            return metadata.version(package)
        lines = self.requirements.read_text(encoding="utf-8").split()
        return next(line.partition("==")[2] for line in lines if line.startswith((f"{package}==", f"{package}[")))

    @property
    def requirements(self) -> Path:
        """The packages of its environment."""
        return HERE / "requirements" / f"{self.name}.txt"

    def install(self) -> None:
        """Make its environment: its pinned packages, and behind them what this interpreter has (torch, ourselves)."""
        site = VENVS / self.name / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
        shared = site / "shared.pth"  # written last: an environment without it is not whole
        if not self.pinned or shared.exists():
            return
        subprocess.run([sys.executable, "-m", "venv", VENVS / self.name], check=True)  # noqa: S603
        pip = [str(self.python), *("-m", "pip", "--disable-pip-version-check", "install", "--quiet")]
        subprocess.run([*pip, "-r", str(self.requirements)], check=True)  # noqa: S603
        shared.write_text(f"{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")

    def start(self, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Run its program in a session of its own."""
        command = [str(self.python), "-m", f"benchmarks.contest.servers.{self.name}_server"]
        path = f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        told = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **environment}
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603
                command, env=told, stdout=output, stderr=output, start_new_session=True, cwd=ROOT
            )

    def url(self, port: int, task: str) -> str:
        """Where it takes pictures."""
        return f"http://127.0.0.1:{port}{self.path.format(path=TASKS[task].endpoints[0].path)}"

    def requests(self, port: int, pictures: Sequence[Upload], task: str) -> list[Request]:
        """A request for each picture, in the form this server takes."""
        url = self.url(port, task)
        return [self.ask(url, each) for each in pictures]


CONTESTANTS = {
    each.name: each
    for each in (
        Contestant("ours", "{path}", pinned=False, package="resnest-service"),
        Contestant("mosec", "/inference"),
        Contestant("litserve", "/predict", field("file")),
        Contestant("bentoml", "/predict", field("images")),
        Contestant("ray", "/"),
        Contestant("mlserver", "/v2/models/pictures/infer", base64_tensor),
        Contestant("pytriton", "/v2/models/pictures/infer", binary_tensor, package="nvidia-pytriton"),
        Contestant("torchserve", "/predictions/pictures", pinned=False),
        Contestant("fastapi", "/predict", field("file"), pinned=False),
    )
}
