"""The programs in Python and JavaScript that the pages show run as they are written."""

import re
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from tests.clients.javascript.test_modules import CLIENT
from tests.commands import ran
from tests.e2e.running import Running
from tests.laws.sources import ROOT

pytestmark = pytest.mark.e2e

PAGES = ("docs/api.md", "clients/python/README.md", "clients/javascript/README.md")
FENCED = re.compile(r"^ *```(py|js)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PROGRAMS = [
    pytest.param(language, textwrap.dedent(text), id=f"{page} {number}")
    for page in PAGES
    for number, (language, text) in enumerate(FENCED.findall((ROOT / page).read_text(encoding="utf-8")), start=1)
]
NAMES = {"starter-classifier": "tiny-classifier", "starter-segmenter": "tiny-segmenter"}


@pytest.mark.parametrize(("language", "program"), PROGRAMS)
def test_a_program_of_a_page_runs_as_written(
    language: str, program: str, asked: Running, grpc_port: int, photos: Path
) -> None:
    adapted = program.replace("127.0.0.1:8000", f"127.0.0.1:{asked.client.base_url.port}")
    adapted = adapted.replace("127.0.0.1:8001", f"127.0.0.1:{grpc_port}")
    for name, other in NAMES.items():
        adapted = adapted.replace(name, other)

    if language == "py":
        photos.joinpath("program.py").write_text(adapted, encoding="utf-8")
        output = ran(sys.executable, "program.py", folder=photos, PYTHONPATH=str(ROOT / "clients" / "python"))
    elif shutil.which("node") is None:
        pytest.skip("node is not installed")
    else:
        photos.joinpath("node_modules").mkdir()
        photos.joinpath("node_modules", "resnest-client").symlink_to(CLIENT)
        photos.joinpath("program.mjs").write_text(adapted, encoding="utf-8")
        output = ran("node", "program.mjs", folder=photos)

    assert output.strip()
    if "mask.png" in program:
        assert (photos / "mask.png").read_bytes().startswith(b"\x89PNG")


def test_the_pages_show_programs_in_both_languages() -> None:
    assert len(PROGRAMS) >= 8
