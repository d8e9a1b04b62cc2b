"""The servers to compare: how to install each one, start it and send it images."""

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
from service.measure.load.corpus import CorpusImage
from service.measure.load.http_connection import Request
from service.tasks import TASKS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENVS = ROOT / "benchmarks" / ".venvs"

PACKAGES = ("benchmarks.contest.servers", "benchmarks.servers")  # of the servers' programs

MakeRequest = Callable[[str, CorpusImage], Request]  # from the URL and an image


def raw_body(url: str, image: CorpusImage) -> Request:
    """Return a request whose body is the image."""
    return http_connection.post(url, image.content, image.media_type, {})


def form_field(name: str) -> MakeRequest:
    """Return a function that sends the image in a form field with this name."""
    return lambda url, image: http_connection.post(url, *http_connection.form([image], name), {})


def base64_tensor(url: str, image: CorpusImage) -> Request:
    """Return a tensor of one string in JSON, by the Open Inference Protocol with MLServer's content types."""
    text = base64.b64encode(image.content).decode("ascii")
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "base64"}}
    body = json.dumps({"inputs": [{**tensor, "data": [text]}]}).encode()
    return http_connection.post(url, body, "application/json", {})


def binary_tensor(url: str, image: CorpusImage) -> Request:
    """Return a binary tensor of one string with a batch axis, and ask for the answer in JSON."""
    output = {"name": "answer", "parameters": {"binary_data": False}}
    return binary_request(url, image, [1, 1], {}, outputs=[output])


def binary_request(
    url: str, image: CorpusImage, shape: Sequence[int], headers: Mapping[str, str], **also: Any
) -> Request:
    """Return a tensor of one string by the binary extension of the Open Inference Protocol: JSON, then the data."""
    data = struct.pack("<I", len(image.content)) + image.content
    tensor = {"name": "image", "shape": shape, "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], **also}).encode()
    all_headers = {**headers, "Inference-Header-Content-Length": str(len(head))}
    return http_connection.post(url, head + data, "application/octet-stream", all_headers)


@dataclass(frozen=True)
class Contestant:
    """A server: the path that takes images, the form of its requests, and whether it has an environment of its own.

    `tree` is the folder of this project whose code and environment it runs in.
    """

    name: str
    path: str
    make_request: MakeRequest = raw_body
    pinned: bool = True
    package: str = ""  # the name in the package index, if it differs from `name`
    program: str = ""  # the name of the program, if it differs from `name`
    tree: Path = ROOT

    @property
    def python(self) -> Path:
        """The interpreter: that of the contestant's own environment, of its tree, or this one."""
        if self.tree != ROOT:
            return self.tree / ".venv" / "bin" / "python"
        return VENVS / self.name / "bin" / "python" if self.pinned else Path(sys.executable)

    @property
    def module(self) -> str:
        """The module of its program. Trees before decision 0047 have these modules in another folder."""
        package = next(each for each in PACKAGES if (self.tree / each.replace(".", "/")).is_dir())
        return f"{package}.{self.program or self.name}_server"

    @property
    def version(self) -> str:
        """The version of the package: the pinned one, or the installed one."""
        package = self.package or self.name
        if not self.pinned:
            return metadata.version(package)
        lines = self.requirements.read_text(encoding="utf-8").split()
        return next(line.partition("==")[2] for line in lines if line.startswith((f"{package}==", f"{package}[")))

    @property
    def requirements(self) -> Path:
        """The file with the packages of the contestant's environment."""
        return HERE / "requirements" / f"{self.name}.txt"

    def install(self) -> None:
        """Create the environment: the pinned packages first, then those of this interpreter (torch, this project)."""
        site = VENVS / self.name / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
        shared = site / "shared.pth"  # written last: an environment without it is incomplete
        if not self.pinned or shared.exists():
            return
        subprocess.run([sys.executable, "-m", "venv", VENVS / self.name], check=True)  # noqa: S603
        pip = [str(self.python), *("-m", "pip", "--disable-pip-version-check", "install", "--quiet")]
        subprocess.run([*pip, "-r", str(self.requirements)], check=True)  # noqa: S603
        # `addsitedir` reads the .pth files there too: this project is installed by one of them.
        shared.write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n", encoding="utf-8")

    def start(self, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Run the contestant's program in a new session."""
        command = [str(self.python), "-m", self.module]
        path = f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        variables = {**os.environ, "PYTHONPATH": str(self.tree), "PATH": path, **environment}
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603
                command, env=variables, stdout=output, stderr=output, start_new_session=True, cwd=self.tree
            )

    def url(self, port: int, task: str) -> str:
        """Return the URL that takes images of this task."""
        return f"http://127.0.0.1:{port}{self.path.format(path=TASKS[task].endpoints[0].path)}"

    def requests(self, port: int, uploads: Sequence[CorpusImage], task: str) -> list[Request]:
        """Return a request for each image, in the form that this server takes."""
        url = self.url(port, task)
        return [self.make_request(url, each) for each in uploads]


CONTESTANTS = {
    each.name: each
    for each in (
        Contestant("ours", "{path}", pinned=False, package="resnest-service"),
        Contestant("mosec", "/inference"),
        Contestant("litserve", "/predict", form_field("file")),
        Contestant("bentoml", "/predict", form_field("images")),
        Contestant("ray", "/"),
        Contestant("mlserver", "/v2/models/images/infer", base64_tensor),
        Contestant("pytriton", "/v2/models/images/infer", binary_tensor, package="nvidia-pytriton"),
        Contestant("torchserve", "/predictions/images", pinned=False),
        Contestant("fastapi", "/predict", form_field("file"), pinned=False),
    )
}
