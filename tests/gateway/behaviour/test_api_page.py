"""docs/api.md is correct: its commands work as written, and it has every problem, parameter and limit."""

import asyncio
import functools
import json
import os
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import httpx
import pytest
from pydantic import BaseModel

from service.config.settings import MEBIBYTE, Settings
from service.errors import every_error
from service.tasks import TASKS
from service.tasks.classification.schema import ClassifyResponse
from service.tasks.detection.schema import Detection
from service.tasks.segmentation.schema import Segment
from service.tasks.shapes import Problem
from tests.gateway.conftest import Running, until
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[3] / "docs/api.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if "curl" in line
]
EXAMPLES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
NAMES = {"starter-classifier": "tiny-classifier"}


async def shell(command: str, folder: Path) -> tuple[int | None, str]:
    """Run a command line with a curl that fails on an HTTP error. Return the exit code and the output."""
    folder.joinpath(".curlrc").write_text("fail\nsilent\nshow-error\nmax-time = 20\n", encoding="utf-8")
    process = await asyncio.create_subprocess_shell(
        command,
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "CURL_HOME": str(folder)},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).is_success


def png_files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob("*.png")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_of_the_page_works_as_written(command: str, listening: Running, tmp_path: Path) -> None:
    tmp_path.joinpath("photo.jpg").write_bytes(image_bytes(kind="JPEG"))

    async with listening() as client:
        await until(functools.partial(ready, client), 30)
        adapted = command.replace("http://127.0.0.1:8000", str(client.base_url))
        for name, other in NAMES.items():
            adapted = adapted.replace(name, other)
        code, output = await shell(adapted, tmp_path)

    assert code == 0, output
    assert all(content.startswith(b"\x89PNG") for content in png_files(tmp_path))
    assert png_files(tmp_path) if " -o " in command else json.loads(output)


# Words in backticks in the table of problems that are not codes but members of a problem.
MEMBERS = {"accepted", "available", "detail", "errors", "invalid", "missing", "parameter", "reason", "required_scope"}


def test_there_are_commands_to_try() -> None:
    assert len(COMMANDS) >= 10


def test_every_problem_stands_in_the_row_of_its_status() -> None:
    rows = {int(row[1]): row[2] for row in re.finditer(r"^\| (\d{3}) \| (.*) \|$", PAGE, re.MULTILINE)}

    documented = {
        code: status for status, row in rows.items() for code in re.findall(r"`([a-z]+(?:_[a-z0-9]+)*)`", row)
    }
    expected = {error.code(): error.status for error in every_error()}
    assert {code: documented.get(code) for code in expected} == expected
    assert documented.keys() - expected.keys() == MEMBERS


SECTIONS: dict[str, type[BaseModel]] = {
    endpoint.name.capitalize(): endpoint.query for task in TASKS.values() for endpoint in task.endpoints
}


@pytest.mark.parametrize("title", SECTIONS)
def test_every_parameter_is_described_where_its_route_is(title: str) -> None:
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]

    assert [name for name in SECTIONS[title].model_fields if f"| `{name}` |" not in section] == []


def test_the_limits_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RESNEST_")]:
        monkeypatch.delenv(name)
    defaults = Settings()

    limits = [
        f"{defaults.max_upload_bytes // MEBIBYTE} MiB in a request",
        f"{defaults.max_images} images in a request",
        f"{defaults.max_pixels:,} pixels, and {defaults.max_side:,} on the longer side",
        f"{defaults.min_side} pixels on the shorter side",
        f"{defaults.upload_timeout_s:g} s for the body",
    ]
    assert [each for each in limits if f"| {each}" not in PAGE] == []


def test_the_examples_have_the_shapes() -> None:
    classified, unknown, segments, detections, problem = EXAMPLES

    ClassifyResponse.model_validate_json(classified)
    Problem.model_validate_json(problem)
    (image,) = json.loads(classified)["results"]
    ClassifyResponse.model_validate({**json.loads(classified), "results": [{**image, **json.loads(unknown)}]})
    for row in json.loads("{" + segments + "}")["segments"]:
        Segment.model_validate(row)
    for row in json.loads("{" + detections + "}")["detections"]:
        Detection.model_validate(row)
