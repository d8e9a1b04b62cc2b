"""The code that the playground shows makes the same request: it runs as it stands, and TypeScript compiles it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.playground.pages import await_answer, choose, choose_files
from tests.e2e.test_answers import upload
from tests.e2e.test_typescript_client import TOOLS

pytestmark = pytest.mark.e2e

NAMES = ["my cat's photo, 1.jpg", "second.png"]


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Two images, one with a name that needs quotes everywhere."""
    files = [tmp_path / name for name in NAMES]
    files[0].write_bytes(upload(1))
    files[1].write_bytes(upload(2, kind="PNG"))
    return files


def code_of(page: Page, images: list[Path], language: str) -> str:
    """Ask for both models, and return the code of that request."""
    choose_files(page, images)
    await_answer(page)
    page.get_by_role("checkbox", name="tiny-classifier-b").check()
    page.get_by_text("Options").click()
    page.get_by_role("spinbutton", name="Number of classes").fill("2")
    page.keyboard.press("Tab")
    expect(page.locator(".bars").first.get_by_role("listitem")).to_have_count(2)
    page.get_by_text("This request as code").click()
    page.get_by_role("radio", name=language).check()
    return page.locator("#code-text").inner_text()


def ran(command: list[str], folder: Path) -> str:
    """Run a command in the folder of the images; fail with its output if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def labels(results: list[dict[str, object]]) -> list[object]:
    """Return how many classes each model gave for each image; the file names must be ours."""
    assert [each["filename"] for each in results] == NAMES
    return [[len(block["predictions"]) for block in each["models"]] for each in results]  # type: ignore[attr-defined]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_command_runs_as_it_stands(page: Page, images: list[Path], tmp_path: Path) -> None:
    code = code_of(page, images, "curl")

    answer = json.loads(ran(["bash", "-c", code], tmp_path))
    assert labels(answer["results"]) == [[2, 2], [2, 2]]


def test_the_python_program_runs_as_it_stands(page: Page, images: list[Path], tmp_path: Path) -> None:
    code = code_of(page, images, "Python")
    tmp_path.joinpath("ask.py").write_text(code, encoding="utf-8")
    modules = re.findall(r"^import (\w+)$", code, re.MULTILINE)
    installed = [name for name in modules if name not in sys.stdlib_module_names]

    assert code.startswith(f"# pip install {' '.join(installed)}\n")
    lines = ran([sys.executable, "ask.py"], tmp_path).splitlines()
    assert [line.partition(" [")[0] for line in lines] == NAMES
    assert all(line.count("'score'") == 4 for line in lines)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_fetch_function_runs_as_it_stands(page: Page, images: list[Path], tmp_path: Path) -> None:
    code = code_of(page, images, "fetch")
    tmp_path.joinpath("ask.mjs").write_text(code + CALL, encoding="utf-8")

    assert labels(json.loads(ran(["node", "ask.mjs", *NAMES], tmp_path))) == [[2, 2], [2, 2]]


@pytest.mark.skipif(
    not (TOOLS / "tsc").exists() or shutil.which("node") is None,
    reason="needs node and the packages of `npm ci --prefix tests/e2e/typescript`",
)
def test_the_typescript_function_compiles_strictly_and_runs(page: Page, images: list[Path], tmp_path: Path) -> None:
    tmp_path.joinpath("ask.ts").write_text(code_of(page, images, "TypeScript"), encoding="utf-8")
    options = ["--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "es2022"]

    ran([str(TOOLS / "tsc"), *options, "--lib", "es2023,dom,dom.iterable", "ask.ts"], tmp_path)
    code = tmp_path.joinpath("ask.js").read_text(encoding="utf-8")
    tmp_path.joinpath("ask.mjs").write_text(code + CALL, encoding="utf-8")
    assert labels(json.loads(ran(["node", "ask.mjs", *NAMES], tmp_path))) == [[2, 2], [2, 2]]


CALL = """
const { openAsBlob } = await import("node:fs");
const names = process.argv.slice(2);
const files = await Promise.all(names.map(async (name) => new File([await openAsBlob(name)], name)));
console.log(JSON.stringify(await classify(files)));
"""


def test_the_code_is_copied(page: Page, images: list[Path]) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = code_of(page, images, "curl")
    page.get_by_role("button", name="Copy").click()

    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == code


@pytest.mark.parametrize("endpoint", ["Segment", "Explain", "Similarity"])
def test_the_typescript_of_each_endpoint_names_its_member(
    endpoint: str, page: Page, images: list[Path], tmp_path: Path
) -> None:
    members = {"Segment": "segments", "Explain": "explanations", "Similarity": "embedding"}
    choose(page, endpoint)  # type: ignore[arg-type]
    choose_files(page, images[1:])
    await_answer(page)
    page.get_by_text("This request as code").click()
    page.get_by_role("radio", name="TypeScript").check()

    assert f" {members[endpoint]}?: {{" in page.locator("#code-text").inner_text()
