"""Sets of names, manifests, and what is left out."""

from pathlib import Path

import pytest

from service.cli.bulk import input_set
from service.cli.bulk.input_set import LeftOut, NameSet, Remaining
from service.cli.predict.failures import RunFailedError
from service.tasks.scoring_base import Remark
from tests.gateway.fixtures.images import image_bytes


def names(*arguments: Path | str) -> list[str]:
    return [file.name for file in input_set.find(list(map(str, arguments)), LeftOut())]


def test_a_set_has_the_names_it_was_made_of_and_no_others() -> None:
    found = NameSet(f"{number}.jpg" for number in range(10_000))

    assert len(found) == 10_000
    assert all(f"{number}.jpg" in found for number in range(0, 10_000, 99))
    assert not any(f"{number}.png" in found for number in range(0, 10_000, 99))
    assert "a" not in NameSet([])


def test_a_set_counts_what_another_has_too() -> None:
    assert NameSet("abc").count_in(NameSet("bcd")) == 2


def test_a_name_has_a_number_of_its_own() -> None:
    found = NameSet("abca")

    assert sorted(found.index(name) or 0 for name in "abc") == [0, 1, 2]
    assert found.index("d") is None


def test_a_repeated_name_is_one_input(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\na.jpg\na.jpg\n", encoding="utf-8")
    found = NameSet(names(tmp_path / "list.txt"))

    remaining = Remaining([str(tmp_path / "list.txt")], found, NameSet(()))

    assert [file.name for file in remaining] == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]
    assert len(found) == 2


def test_inputs_with_a_line_are_not_asked_again(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").touch()
    found = NameSet(names(tmp_path))

    remaining = Remaining([str(tmp_path)], found, NameSet([f"{tmp_path}/b.jpg"]))

    assert [file.name for file in remaining] == [f"{tmp_path}/a.jpg", f"{tmp_path}/c.jpg"]


def test_files_that_come_and_go_after_the_set_was_made_are_known(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").touch()
    found = NameSet(names(tmp_path))
    (tmp_path / "a.jpg").unlink()
    for name in ("d.jpg", "notes.txt"):
        (tmp_path / name).touch()

    remaining = Remaining([str(tmp_path), f"{tmp_path}/*.jpg"], found, NameSet(()))

    assert [file.name for file in remaining] == [f"{tmp_path}/b.jpg", f"{tmp_path}/c.jpg"]
    assert remaining.added == f"{tmp_path}/d.jpg"
    assert list(remaining.left_out.lines()) == [f"1 file, because it is not an image: {tmp_path}/notes.txt"]


def test_a_manifests_paths_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffa b.jpg\r\n\r\n/data/é.jpg\r\n".encode())

    assert names(tmp_path / "list.txt") == [f"{tmp_path}/a b.jpg", "/data/é.jpg"]


def test_a_table_names_files_in_one_of_its_columns(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('label,Image\ncat,"a,1.jpg"\ndog,b.jpg\n', encoding="utf-8")

    assert names(tmp_path / "list.csv") == [f"{tmp_path}/a,1.jpg", f"{tmp_path}/b.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("list.csv", b"label,score\ncat,1\n", "has no column file, image, path, filename; it has label, score"),
        ("list.txt", "a.jpg\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_manifest_of_no_use_ends_the_run(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(RunFailedError, match=reason):
        names(tmp_path / name)


def test_folders_and_patterns_are_inputs_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image_bytes())
    (tmp_path / "notes.md").write_text("no image", encoding="utf-8")
    left_out = LeftOut()

    files = list(input_set.find([str(tmp_path), f"{tmp_path}/*.png"], left_out))

    assert [file.name for file in files] == [f"{tmp_path}/a.png"] * 2
    assert list(left_out.lines()) == [f"1 file, because it is not an image: {tmp_path}/notes.md"]


def test_standard_input_is_no_bulk() -> None:
    with pytest.raises(RunFailedError, match="standard input is one image"):
        names("-")


def test_what_is_left_out_is_counted_and_only_a_few_are_named() -> None:
    left_out = LeftOut(shown=2)
    for number in range(5):
        left_out.append(Remark(Path(f"{number}.md"), "it is not an image"))

    assert list(left_out.lines()) == ["5 files, because it is not an image: 0.md, 1.md, ..."]
