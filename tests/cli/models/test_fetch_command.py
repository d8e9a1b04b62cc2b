"""The command `models fetch`, from its options to the store. tests/deploy/test_weights.py runs it as pods do."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli.main import main
from tests.cli.models.test_store_archives import tar
from tests.models.weights.misbehaving import Server, serving
from tests.stores import write_store

MODEL = "tiny-classifier"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def listed(tmp_path: Path, server: Server) -> Path:
    """Put an archive on the server, and return the list with it."""
    server.files["models.tar"] = tar(write_store(tmp_path / "source", MODEL), MODEL)
    file = tmp_path / "SHA256SUMS"
    file.write_text(f"{hashlib.sha256(server.files['models.tar']).hexdigest()}  models.tar\n", encoding="utf-8")
    return file


def fetch(store: Path, address: str, listed: Path, *, token: str | None = None) -> Result:
    words = ["models", "fetch", "--store", str(store), "--from", address, "--checksums", str(listed)]
    return CliRunner().invoke(main, words, env={"RESNEST_MODELS_TOKEN": token})


@pytest.mark.parametrize("end", ["", "/"])
def test_the_archives_of_a_list_become_a_store_that_need_not_exist(
    tmp_path: Path, server: Server, listed: Path, end: str
) -> None:
    store, address = tmp_path / "new" / "store", server.url("whole", "").rstrip("/") + end

    first, again = fetch(store, address, listed), fetch(store, address, listed)

    assert (first.exit_code, first.stdout) == (0, f"models.tar: {MODEL}\n")
    assert (again.exit_code, again.stdout) == (0, "models.tar: is here already\n")
    verified = CliRunner().invoke(main, ["models", "verify", "--store", str(store)])
    assert (verified.exit_code, verified.stdout.startswith(f"{MODEL}: ")) == (0, True)


def test_another_file_than_the_listed_one_is_an_error(tmp_path: Path, server: Server, listed: Path) -> None:
    server.files["models.tar"] += b"\0"

    refused = fetch(tmp_path / "store", server.url("whole", ""), listed)

    assert refused.exit_code == 1
    assert "sent a file with the SHA-256" in refused.stderr


def test_an_address_of_another_kind_is_a_wrong_option(tmp_path: Path, listed: Path) -> None:
    refused = fetch(tmp_path / "store", "s3://bucket/models", listed)

    assert refused.exit_code == 2
    assert "s3://bucket/models does not begin with http:// or https://" in refused.stderr
    assert not (tmp_path / "store").exists()


def test_a_token_of_the_environment_opens_a_private_server(tmp_path: Path, server: Server, listed: Path) -> None:
    address = server.url("private", "").rstrip("/")

    without = fetch(tmp_path / "store", address, listed)
    fetched = fetch(tmp_path / "store", address, listed, token="secret\n")  # noqa: S106 - with the end of a file's line

    assert (without.exit_code, fetched.exit_code) == (1, 0), fetched.output
    assert "answered 401 Unauthorized" in without.stderr
    assert server.tokens == [None, "Bearer secret"]


@pytest.mark.parametrize(
    ("address", "token", "reason"),
    [
        ("https://user:secret@models.example/a", None, "put a token into RESNEST_MODELS_TOKEN"),
        ("user:secret@models.example/a", None, "put a token into RESNEST_MODELS_TOKEN"),
        ("https://models.example/a?signature=secret", None, "it is not the URL of a folder"),
        ("https://models.example/mod\xe8les", None, "it is not the URL of a folder"),
        ("https://models.example/a", "two secrets", "it is not one word"),
        ("https://models.example/a", "secret\r\nHost:x", "it is not one word"),
        ("http://models.example/a", "secret", "it would be sent without encryption"),
        ("http://127.0.0.1.models.example/a", "secret", "it would be sent without encryption"),
    ],
)
def test_what_would_give_a_secret_away_is_refused_and_not_repeated(
    tmp_path: Path, listed: Path, address: str, token: str | None, reason: str
) -> None:
    refused = fetch(tmp_path / "store", address, listed, token=token)

    assert (refused.exit_code, "secret" in refused.output) == (2, False)
    assert reason in " ".join(refused.stderr.split())
    assert not (tmp_path / "store").exists()
