"""The files of the playground: complete, named by their content, and referred to by relative addresses only."""

import io
import re
from urllib.parse import urljoin

import pytest
from PIL import Image

from service.gateway.playground.page_files import PageFiles, page_file, read_page_files
from tests.laws.sources import ROOT

IMPORT = re.compile(r'^(?:import|export) (?:.* from )?"([^"]+)";', re.MULTILINE)


@pytest.fixture(scope="module")
def found() -> PageFiles:
    return read_page_files()


def test_the_page_names_files_that_are_there_and_none_of_another_host(found: PageFiles) -> None:
    page = found.page.content.decode()
    named = re.findall(r'(?:src|href)="([^"#]+)"', page)
    base = f"playground/{found.version}/"

    files = {name.removeprefix(base) for name in named if name.startswith(base)}
    assert {"js/main.js", "css/base.css", "favicon.svg", "examples/cat.jpg"} <= files
    assert files <= found.others.keys()
    assert {name for name in named if not name.startswith(base)} == {"favicon.ico", "docs", "problems", "openapi.json"}
    assert "{{" not in page


def test_the_page_preloads_every_module(found: PageFiles) -> None:
    page = found.page.content.decode()
    preloaded = set(re.findall(rf'rel="modulepreload" href="playground/{found.version}/([^"]+)"', page))

    assert preloaded == {name for name in found.others if name.endswith(".js")}
    assert len(preloaded) > 10


def test_a_module_imports_only_modules_of_the_page(found: PageFiles) -> None:
    modules = {name: file.content.decode() for name, file in found.others.items() if name.endswith(".js")}
    imported = {urljoin(name, path) for name, text in modules.items() for path in IMPORT.findall(text)}

    assert imported == modules.keys() - {"js/main.js"}
    assert [name for name, text in modules.items() if re.search(r"https?://|await import\(", text)] == []


def test_no_file_has_script_or_style_that_the_policy_forbids(found: PageFiles) -> None:
    page = found.page.content.decode()
    texts = [file.content.decode() for name, file in found.others.items() if name.endswith((".js", ".css"))]

    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page) == []
    assert [text for text in texts if re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|\burl\(", text)] == []


def test_the_version_is_a_fingerprint_of_all_files(found: PageFiles) -> None:
    assert read_page_files().version == found.version
    assert re.fullmatch(r"[0-9a-f]{16}", found.version)


def test_a_file_has_the_type_of_its_suffix_and_a_tag_of_its_content() -> None:
    script, changed = page_file("js/a.js", b"1"), page_file("js/a.js", b"2")

    assert script.media_type == "text/javascript; charset=utf-8"
    assert script.tag == page_file("js/b.js", b"1").tag != changed.tag
    with pytest.raises(KeyError):
        page_file("js/a.exe", b"")


def test_the_icon_is_one(found: PageFiles) -> None:
    with Image.open(io.BytesIO(found.icon.content)) as icon:
        assert (icon.format, icon.size) == ("ICO", (32, 32))


def test_each_example_image_names_its_author_and_licence(found: PageFiles) -> None:
    examples = {name: file.content for name, file in found.others.items() if name.startswith("examples/")}

    assert len(examples) == 3
    assert examples["examples/cat.jpg"] == (ROOT / "model_store" / "example.jpg").read_bytes()
    for name, content in examples.items():
        with Image.open(io.BytesIO(content)) as image:
            assert re.search(rb"CC0 1\.0|CC BY 2\.0", image.info["comment"]), name
