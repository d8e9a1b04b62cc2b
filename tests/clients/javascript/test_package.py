"""The npm package: it is built from the sources, is complete, and works where it is installed, with its types."""

import json
import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.clients.javascript.test_modules import CLIENT, MODULES
from tests.commands import ran
from tests.gateway.playground.test_sources import TOOLS, needs_tools
from tests.laws.sources import ROOT

pytestmark = needs_tools

PROGRAM = """
import { Client, ProblemError, map, toBlob, type Segmentation } from "resnest-client";

const client: Client = new Client("http://127.0.0.1:1", { timeout_s: 2 });

export async function shares(photo: Blob): Promise<Record<string, number>> {
    const answer: Segmentation = await client.segment(photo, { mask: "png", classes: ["cat"] });
    if (answer.mask?.format === "png") toBlob(answer.mask);
    return Object.fromEntries(answer.segments.map(({ label, share }) => [label, share]));
}

export async function labels(photos: Blob[]): Promise<(string | undefined)[]> {
    const found = [];
    for await (const outcome of map((photo: Blob) => client.classify(photo, { top_k: 1 }), photos)) {
        found.push(outcome.error === undefined ? outcome.answer.predictions[0]?.label : outcome.error.message);
    }
    return found;
}

console.log(`${typeof Client} ${ProblemError.name}`);
"""
PAGES = ("docs/api.md", "clients/javascript/README.md")
SAMPLE = re.compile(r"^```js\n(.*?)^```", re.MULTILINE | re.DOTALL)
# The functions of Node that the pages use, with the types that `@types/node` gives them.
NODE = """
declare module "node:fs" {
    export function openAsBlob(path: string): Promise<Blob>;
}
declare module "node:fs/promises" {
    export function readdir(path: string): Promise<string[]>;
    export function readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
    export function writeFile(path: string, data: Uint8Array | ReadableStream): Promise<void>;
}
"""
WRONG = 'import { Client } from "resnest-client";\nnew Client().classify(new Blob(), { topk: 3 });\n'


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built in a copy of the sources."""
    folder = tmp_path_factory.mktemp("package")
    copy = folder / "sources"
    shutil.copytree(CLIENT, copy, ignore=shutil.ignore_patterns("types", "node_modules", "*.tgz"))
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    ran("npm", "pack", "--silent", "--offline", "--pack-destination", folder, folder=copy, PATH=path)
    (built,) = folder.glob("*.tgz")
    return built


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a program, with the package where npm installs it."""
    folder = tmp_path_factory.mktemp("program")
    with tarfile.open(tarball) as opened:
        opened.extractall(folder / "node_modules", filter="data")
    (folder / "node_modules" / "package").rename(folder / "node_modules" / "resnest-client")
    folder.joinpath("package.json").write_text('{"type": "module"}', encoding="utf-8")
    return folder


def compiled(folder: Path, programs: dict[str, str]) -> str:
    """Compile programs, by the names of their files, strictly. Return the compiler's output."""
    for name, text in programs.items():
        folder.joinpath(name).write_text(text, encoding="utf-8")
    options = ["--strict", "--noUncheckedIndexedAccess", "--module", "nodenext", "--target", "es2022"]
    return ran(TOOLS / "tsc", *options, "--lib", "es2022,dom,dom.iterable", *programs, folder=folder)


def test_the_package_has_every_module_with_its_types_the_readme_and_the_licence(tarball: Path) -> None:
    with tarfile.open(tarball) as opened:
        packed = {name.removeprefix("package/") for name in opened.getnames()}

    modules = {f"src/{path.name}" for path in MODULES}
    types = {f"types/{path.stem}.d.ts" for path in MODULES}
    assert packed == modules | types | {"package.json", "README.md", "LICENSE"}


def test_the_package_needs_no_other(tarball: Path) -> None:
    facts = json.loads(CLIENT.joinpath("package.json").read_text(encoding="utf-8"))

    assert "dependencies" not in facts
    assert tarball.name == f"resnest-client-{facts['version']}.tgz"


def test_a_program_in_typescript_compiles_strictly_and_runs(installed: Path) -> None:
    compiled(installed, {"program.ts": PROGRAM})

    assert ran("node", "program.js", folder=installed) == "function ProblemError\n"


def test_a_parameter_that_does_not_exist_does_not_compile(installed: Path) -> None:
    with pytest.raises(AssertionError, match="topk"):
        compiled(installed, {"wrong.ts": WRONG})


def test_the_programs_of_the_pages_compile_strictly(installed: Path) -> None:
    samples = [text for page in PAGES for text in SAMPLE.findall((ROOT / page).read_text(encoding="utf-8"))]

    assert len(samples) >= 4
    compiled(installed, {"node.d.ts": NODE} | {f"sample{n}.ts": text for n, text in enumerate(samples)})
