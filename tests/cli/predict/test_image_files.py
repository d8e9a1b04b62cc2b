"""Masks and overlays as files."""

import base64
from pathlib import Path, PurePath
from typing import Any

from service.cli.predict.image_files import ImageFiles
from service.cli.predict.inputs import InputFile


def encoded(content: bytes) -> dict[str, Any]:
    return {"format": "png", "encoding": "base64", "width": 1, "data": base64.b64encode(content).decode()}


def file(place: str) -> InputFile:
    return InputFile(f"photos/{place}", Path("photos") / place, PurePath(place))


def test_a_mask_is_a_file_beside_the_others_of_its_folder(tmp_path: Path) -> None:
    answer = ImageFiles(tmp_path).write(file("pets/cat.jpg"), {"mask": encoded(b"one"), "segments": []})

    path = tmp_path / "pets" / "cat.mask.png"
    assert path.read_bytes() == b"one"
    assert answer == {"mask": {"format": "png", "encoding": "file", "width": 1, "file": str(path)}, "segments": []}


def test_a_file_in_a_list_is_named_by_its_position(tmp_path: Path) -> None:
    rows = [{"label": "cat", "overlay": encoded(b"one")}, {"label": "dog", "overlay": encoded(b"two")}]

    ImageFiles(tmp_path).write(file("cat.jpg"), {"explanations": rows})

    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {"cat.overlay-1.png": b"one", "cat.overlay-2.png": b"two"}


def test_images_that_differ_by_their_suffix_do_not_overwrite_each_other(tmp_path: Path) -> None:
    files = ImageFiles(tmp_path)
    for name, content in (("cat.jpg", b"one"), ("cat.png", b"two")):
        files.write(file(name), {"mask": encoded(content)})

    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {"cat.mask.png": b"one", "cat.png.mask.png": b"two"}


def test_images_of_one_name_in_two_folders_do_not_overwrite_each_other(tmp_path: Path) -> None:
    files = ImageFiles(tmp_path)
    for name, content in (("x/cat.jpg", b"one"), ("y/cat.jpg", b"two"), ("../z/cat.jpg", b"three")):
        files.write(InputFile(name, Path(name), PurePath("cat.jpg")), {"mask": encoded(content)})

    written = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert written == {"cat.mask.png": b"one", "cat.jpg.mask.png": b"two", "z/cat.jpg.mask.png": b"three"}


def test_a_vector_in_base64_is_no_file(tmp_path: Path) -> None:
    answer = {"embedding": {"encoding": "base64", "dimensions": 1, "data": "AAAAAA=="}}

    assert ImageFiles(tmp_path).write(file("cat.jpg"), answer) == answer
    assert not list(tmp_path.iterdir())
