"""Tests of the commands that manage API keys."""

import fcntl
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli.main import main
from service.config.api_keys import Quota, find, parse
from service.models import atomic_write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of the keys file, which does not exist yet."""
    return tmp_path / "api-keys"


def call(file: Path, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["keys", command, "--file", str(file), *arguments])


def test_a_new_key_is_printed_alone_and_only_its_hash_is_kept(file: Path) -> None:
    made = call(file, "new", "web-app", "--scope", "segment", "--rate", "2.5", "--expires", "2030-01-31")
    secret = made.stdout.strip()
    assert made.exit_code == 0
    assert secret not in file.read_text(encoding="utf-8") + made.stderr
    found = find(parse(file.read_text(encoding="utf-8")), secret)
    assert found is not None
    assert (found.name, found.quota, str(found.expires)) == ("web-app", Quota(rate=2.5), "2030-01-31")
    assert found.scopes == {"segment"}
    assert found.id in made.stderr


@pytest.mark.parametrize("command", ["new", "revoke"])
def test_two_commands_at_a_time_take_turns(file: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    call(file, "new", "web-app")
    folder = os.open(file.parent, os.O_RDONLY)
    written = []

    def write(*_: object, **__: object) -> None:
        with pytest.raises(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        written.append(True)

    monkeypatch.setattr(atomic_write, "write", write)
    result = call(file, command, "other" if command == "new" else parse(file.read_text(encoding="utf-8"))[0].id)

    assert (result.exit_code, written) == (0, [True]), result.output
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)


@pytest.mark.parametrize("name", ["", "#web", "web app", "Web", "-web", "é", "web\nadmin", "anonymous", "w" * 33])
def test_a_name_that_no_line_can_have_is_a_wrong_use_and_makes_no_key(file: Path, name: str) -> None:
    result = call(file, "new", "--", name)

    assert (result.exit_code, result.stdout, file.exists()) == (2, "", False)
    assert "the name must be 1 to 32 characters of a-z 0-9 . _ -" in " ".join(result.stderr.split())


def test_a_key_is_added_to_those_there_are_and_remarks_stay(file: Path) -> None:
    file.write_text("# ours\nother admin " + "0" * 64, encoding="utf-8")
    call(file, "new", "web-app")
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines] == ["#", "other", "web-app"]
    assert parse("\n".join(lines))[1].scopes == {"classify", "segment", "detect"}


def test_the_keys_are_listed_by_their_ids_and_revoked_by_them(file: Path) -> None:
    secrets = [call(file, "new", "web-app").stdout.strip() for _ in range(2)]
    rows = [line.split() for line in call(file, "list").stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["web-app", "web-app"]
    assert call(file, "revoke", rows[0][1]).exit_code == 0
    left = parse(file.read_text(encoding="utf-8"))
    assert [find(left, secret) is not None for secret in secrets] == [False, True]


def test_the_limits_of_a_key_are_listed(file: Path) -> None:
    call(file, "new", "web-app", "--rate", "2.5", "--burst", "40", "--concurrency", "3", "--expires", "2030-01-31")
    call(file, "new", "plain")
    _, limited, plain = call(file, "list").stdout.splitlines()
    assert limited.split()[-4:] == ["rate=2.5", "burst=40", "concurrency=3", "2030-01-31"]
    assert "=" not in plain


def test_the_columns_of_the_list_are_aligned(file: Path) -> None:
    call(file, "new", "a", "--scope", "classify", "--rate", "2.5", "--expires", "2030-01-31")
    call(file, "new", "a-much-longer-name")
    head, *rows = call(file, "list").stdout.splitlines()
    starts = [head.index(name) for name in ("key ID", "scopes", "limits", "last day")]
    assert all(row[start - 1] == " " != row[start] for row in rows for start in (starts[0], starts[1], starts[3]))
    assert rows[0][starts[2] :].startswith("rate=2.5")


def test_only_the_owner_may_read_a_new_file(file: Path) -> None:
    before = os.umask(0)
    try:
        call(file, "new", "web-app")
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o400, 0o640, 0o644])
@pytest.mark.parametrize("command", ["new", "revoke"])
def test_a_file_keeps_the_mode_that_the_operator_gave_it(file: Path, command: str, mode: int) -> None:
    call(file, "new", "web-app")
    file.chmod(mode)
    result = call(file, command, "other" if command == "new" else parse(file.read_text(encoding="utf-8"))[0].id)
    assert (result.exit_code, file.stat().st_mode & 0o777) == (0, mode)


def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(file: Path) -> None:
    call(file, "new", "web-app")
    before = file.read_bytes()
    result = call(file, "revoke", "01234567")
    assert result.exit_code == 1
    assert "has no key 01234567" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_file_that_is_not_there_is_told(file: Path) -> None:
    assert call(file, "list").stderr == f"Error: {file}: No such file or directory\n"
