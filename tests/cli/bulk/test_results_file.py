"""One line for each input, whatever ended the runs before."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.cli.bulk import results_file
from service.cli.bulk.input_set import NameSet
from service.cli.predict.failures import RunFailedError

RUN: dict[str, Any] = {"task": "classify", "query": {"top_k": "1"}}


def line(name: str, **members: Any) -> bytes:
    return json.dumps({"file": name, **members}, separators=(",", ":")).encode() + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a results file with an answer and a problem."""
    with results_file.opened(tmp_path / "out" / "results.jsonl", RUN) as results:
        results.append(line("a.jpg", predictions=[]))
        results.append(line('b".jpg', error={"code": "image_corrupt"}))
    return tmp_path / "out" / "results.jsonl"


def test_a_run_that_continues_knows_the_lines_and_the_problems(path: Path) -> None:
    with results_file.opened(path, RUN) as results:
        assert len(results.done) == 2
        assert all(name in results.done for name in ("a.jpg", 'b".jpg'))
        assert results.failed == 1


def test_relative_names_of_another_folder_are_refused_and_absolute_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for run in (RUN, {**RUN, "folder": "a"}, RUN, {**RUN, "folder": "a"}):
        with results_file.opened(path, run) as results:
            results.append(line("1.jpg", predictions=[]))
    with (
        pytest.raises(RunFailedError, match='another run, with folder "a"'),
        results_file.opened(path, {**RUN, "folder": "b"}),
    ):
        pass


@pytest.mark.parametrize("cut", range(1, 20))
def test_what_a_killed_process_left_of_a_line_is_removed(cut: int, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + line("c.jpg", predictions=[])[:cut])

    with results_file.opened(path, RUN) as results:
        assert "c.jpg" not in results.done
        results.append(line("c.jpg", predictions=[]))

    assert path.read_bytes() == whole + line("c.jpg", predictions=[])


def test_a_cut_line_longer_than_a_block_is_removed(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"file":"c.jpg","data":"' + b"x" * (2 * results_file.BLOCK))

    with results_file.opened(path, RUN):
        pass

    assert path.read_bytes() == whole


def test_lines_with_a_problem_can_be_asked_again(path: Path) -> None:
    with results_file.opened(path, RUN, retried=NameSet(["a.jpg", 'b".jpg'])) as results:
        assert 'b".jpg' not in results.done
        assert results.failed == 0

    assert path.read_bytes() == line("a.jpg", predictions=[])


def test_problems_of_inputs_that_are_not_asked_again_keep_their_lines(path: Path) -> None:
    whole = path.read_bytes()

    with results_file.opened(path, RUN, retried=NameSet(["a.jpg", "c.jpg"])) as results:
        assert results.failed == 1

    assert path.read_bytes() == whole


def answer(name: str, version: str, model: str = "mine") -> bytes:
    return line(name, model={"name": model, "version": version, "task": "classification"}, predictions=[])


def compared(name: str, *versions: str) -> bytes:
    return line(name, models=[{"name": "mine", "version": each, "task": "classification"} for each in versions])


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (answer("1.jpg", "1.0"), answer("2.jpg", "2.0")),
        (answer("1.jpg", "1.0"), answer("2.jpg", "1.0", "others")),
        (compared("1.jpg", "1.0", "2.0"), compared("2.jpg", "1.0", "3.0")),
    ],
    ids=["version", "name", "one of several"],
)
@pytest.mark.parametrize("continued", [False, True], ids=["in a run", "in a run that continues"])
def test_answers_of_another_model_are_refused_unless_they_are_accepted(
    first: bytes, other: bytes, tmp_path: Path, *, continued: bool
) -> None:
    path = tmp_path / "results.jsonl"
    with results_file.opened(path, RUN) as results:
        results.append(first)
        results.append(line("bad.jpg", error={"code": "image_corrupt"}))
        if not continued:
            with pytest.raises(RunFailedError, match=r"the answers are of .* now, .* has answers of mine 1.0"):
                results.append(other)
    if continued:
        with results_file.opened(path, RUN) as results, pytest.raises(RunFailedError, match="--mix-models"):
            results.append(other)
    assert path.read_bytes().startswith(first)
    assert other not in path.read_bytes()

    with results_file.opened(path, RUN, may_mix=True) as results:
        results.append(other)
    with results_file.opened(path, RUN) as results:  # both models have lines now
        assert results.done.count_in(NameSet(["1.jpg", "2.jpg", "bad.jpg"])) == 3


def test_a_version_has_two_names_and_is_one_model(tmp_path: Path) -> None:
    with results_file.opened(tmp_path / "results.jsonl", RUN) as results:
        results.append(answer("1.jpg", "1.0"))
        results.append(answer("2.jpg", "1.0", "mine@1.0"))  # since a higher version has the plain name

        assert results.added == 2


def test_another_question_does_not_continue_a_run(path: Path) -> None:
    with (
        pytest.raises(RunFailedError, match=r'of another run, with query \{"top_k": "1"\}; name another file'),
        results_file.opened(path, {**RUN, "query": {"top_k": "2"}}),
    ):
        pass


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine\n", encoding="utf-8")

    with pytest.raises(RunFailedError, match="does not say of which run"), results_file.opened(path, RUN):
        pass

    assert path.read_text(encoding="utf-8") == "mine\n"


def test_a_line_that_was_changed_is_named(path: Path) -> None:
    path.write_bytes(b"[]\n" + path.read_bytes())

    with pytest.raises(RunFailedError, match=r"line 1 of .* is not of this command"), results_file.opened(path, RUN):
        pass


def test_two_runs_do_not_write_one_file(path: Path) -> None:
    with (
        results_file.opened(path, RUN),
        pytest.raises(RunFailedError, match="another run writes"),
        results_file.opened(path, RUN),
    ):
        pass


def test_a_run_that_was_killed_before_its_first_line_can_be_another(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results_file.description(path).write_bytes(b'{"task": "cl')

    with results_file.opened(path, RUN) as results:
        assert len(results.done) == 0


@pytest.mark.parametrize("cut", [1, 9, 20])
def test_a_crash_while_the_run_is_described_again_does_not_lock_the_results(cut: int, path: Path) -> None:
    described = results_file.description(path)
    first = described.read_bytes()
    moved = {**RUN, "folder": "photos"}
    with results_file.opened(path, moved):
        second = described.read_bytes()
    described.write_bytes(second[: len(first) + cut])

    for _ in range(2):
        with results_file.opened(path, moved) as results:
            assert len(results.done) == 2
    with (
        pytest.raises(RunFailedError, match='with folder "photos"'),
        results_file.opened(path, {**moved, "folder": "b"}),
    ):
        pass


def test_what_a_run_leaves_out_is_recorded_beside_its_results(tmp_path: Path) -> None:
    path, record = tmp_path / "answers.jsonl", tmp_path / "answers.jsonl.left-out.txt"
    results_file.record_left_out(path, ["1 file, because it is not an image: a.txt"])
    assert record.read_text(encoding="utf-8") == "1 file, because it is not an image: a.txt\n"
    results_file.record_left_out(path, [])
    assert not record.exists()
