"""Archives of model folders become models of a store, or the store stays as it was."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.models import store_archives
from service.cli.models.store_archives import ListedArchive
from service.models import model_order, zoo
from service.models.weights import checksums
from service.models.weights.checksums import WeightsError
from service.models.weights.download import DownloadRules
from tests.models.weights.misbehaving import Server, serving
from tests.stores import write_store

MODEL, OTHER = "tiny-classifier", "tiny-segmenter"
RULES = DownloadRules(timeout_s=5, attempts=1, copies=2, max_bytes=1 << 30)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose classifier takes its labels from a shared set."""
    store = write_store(tmp_path_factory.mktemp("source") / "store", MODEL, OTHER)
    (store / "labels").mkdir()
    names = (store / MODEL / "labels.txt").read_text(encoding="utf-8").split()
    rows = [f"{number}\t{name}" for number, name in enumerate(names)]
    (store / "labels" / "mine.tsv").write_text("\n".join(["class_id\tlabel", *rows, ""]), encoding="utf-8")
    (store / MODEL / "labels.txt").unlink()
    with (store / MODEL / "card.toml").open("a", encoding="utf-8") as card:
        card.write('\n[labels]\nset = "mine"\n')
    return store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def tar(source: Path, *names: str, mode: str = "w", prefix: str = "") -> bytes:
    """Return an archive of these folders of a store."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload]
        for name in names:
            archive.add(source / name, f"{prefix}{name}")
    return content.getvalue()


def tar_of(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """Return an archive of members with these names and contents."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, target, len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def damaged() -> bytes:
    """Return an archive compressed by xz, of which a byte in the middle has changed."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as archive:
        noise = hashlib.shake_256(b"noise").digest(100_000)
        member = tarfile.TarInfo("mine/card.toml")
        member.size = len(noise)
        archive.addfile(member, io.BytesIO(noise))
    data = bytearray(content.getvalue())
    data[len(data) // 2] ^= 1
    return bytes(data)


def put(server: Server, data: bytes, name: str = "a.tar") -> ListedArchive:
    """Put an archive on the server, and return its line of the list."""
    server.files[name] = data
    return ListedArchive(name, hashlib.sha256(data).hexdigest())


def fetch(store: Path, server: Server, archive: ListedArchive, behaviour: str = "whole") -> list[str]:
    address = server.url(behaviour, "").rstrip("/")
    return store_archives.fetch(store, address, archive, lambda _done, _total: None, RULES)


def hidden(store: Path) -> list[str]:
    return [path.name for path in store.iterdir() if path.name.startswith(".") and path.name != ".fetched"]


@pytest.mark.parametrize(("mode", "prefix"), [("w", ""), ("w:gz", ""), ("w", "./")])
def test_models_and_their_labels_are_served_as_they_were_in_their_store(
    source: Path, store: Path, server: Server, mode: str, prefix: str
) -> None:
    archive = put(server, tar(source, MODEL, OTHER, "labels", mode=mode, prefix=prefix))

    assert fetch(store, server, archive) == ["labels", MODEL, OTHER]

    served, there = zoo.read_all(store), zoo.read_all(source)
    assert served.unreadable == {}
    for name in (MODEL, OTHER):
        checksums.verify(served[name])
        assert served[name].classes == there[name].classes
    assert hidden(store) == []


def test_an_installed_archive_is_not_fetched_again_until_its_model_is_gone(
    source: Path, store: Path, server: Server
) -> None:
    archive = put(server, tar(source, OTHER))
    fetch(store, server, archive)

    assert fetch(store, server, archive) == []
    assert len(server.requests) == 1
    (store / OTHER).rename(store / ".gone")
    assert fetch(store, server, archive) == [OTHER]


def test_a_model_is_replaced_by_another_archive_and_back_again(source: Path, store: Path, server: Server) -> None:
    old = put(server, tar(source, OTHER), "old.tar")
    changed = write_store(store.parent / "changed", OTHER, changes={"serving": {"workers": 3}})
    new = put(server, tar(changed, OTHER), "new.tar")
    workers = []
    for archive in (old, new, old):
        assert fetch(store, server, archive) == [OTHER]
        workers.append(zoo.read_all(store)[OTHER].serving.workers)

    assert workers == [1, 3, 1]


def test_label_sets_of_several_archives_are_all_there(source: Path, store: Path, server: Server) -> None:
    fetch(store, server, put(server, tar_of(("labels/other.tsv", b"class_id\tlabel\n0\tone\n")), "labels.tar"))
    fetch(store, server, put(server, tar(source, MODEL, "labels")))

    assert {path.name for path in (store / "labels").iterdir()} == {"mine.tsv", "other.tsv"}


def test_labels_are_replaced_by_another_archive_and_back_again(store: Path, server: Server) -> None:
    found = []
    archives = [
        put(server, tar_of(("labels/mine.tsv", f"class_id\tlabel\n0\t{name}\n".encode())), f"{name}.tar")
        for name in ("one", "two")
    ]
    for archive in (*archives, archives[0]):
        assert fetch(store, server, archive) == ["labels"]
        found.append((store / "labels" / "mine.tsv").read_text(encoding="utf-8").split()[-1])

    assert found == ["one", "two", "one"]


def test_archives_with_the_same_labels_are_both_installed(source: Path, store: Path, server: Server) -> None:
    archives = [put(server, tar(source, name, "labels"), f"{name}.tar") for name in (MODEL, OTHER)]
    for archive in archives:
        fetch(store, server, archive)

    assert [fetch(store, server, archive) for archive in archives] == [[], []]
    assert len(server.requests) == 2


def test_the_first_archive_of_a_list_has_the_default_model(store: Path, server: Server, tmp_path: Path) -> None:
    models = write_store(tmp_path / "two", "tiny-classifier", "tiny-classifier-b")
    for name in ("tiny-classifier-b", "tiny-classifier"):
        fetch(store, server, put(server, tar(models, name), f"{name}.tar"))

    assert model_order.read(store) == {"classification": ("tiny-classifier-b", "tiny-classifier")}


def test_a_file_with_another_checksum_is_refused_and_named(source: Path, store: Path, server: Server) -> None:
    data = tar(source, OTHER)
    listed = ListedArchive("a.tar", "0" * 64)
    server.files["a.tar"] = data

    with pytest.raises(WeightsError) as refused:
        fetch(store, server, listed)

    found = hashlib.sha256(data).hexdigest()
    assert str(refused.value) == (
        f"a.tar is not installed: no URL served the file:\n  {server.url('whole', 'a.tar')} "
        f"sent a file with the SHA-256 {found}, but {'0' * 64} is listed"
    )
    assert [*store.iterdir()] == []


@pytest.mark.parametrize("behaviour", ["404", "other-bytes", "page", "cut-without-ranges"])
def test_what_a_server_sends_instead_installs_nothing(
    source: Path, store: Path, server: Server, behaviour: str
) -> None:
    archive = put(server, tar(source, OTHER))

    with pytest.raises(WeightsError, match=r"a\.tar is not installed"):
        fetch(store, server, archive, behaviour)

    assert zoo.read_zoo(store) == {}


def test_a_download_that_broke_off_continues(source: Path, store: Path, server: Server) -> None:
    archive = put(server, tar(source, OTHER))
    with pytest.raises(WeightsError):
        fetch(store, server, archive, "cut")

    assert fetch(store, server, archive) == [OTHER]
    assert server.requests[-1][1] == f"bytes={len(server.files['a.tar']) // 2}-"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tar_of(("../outside/card.toml", b"")), "'../outside/card.toml', a path outside of the store"),
        (tar_of(("/etc/card.toml", b"")), "'/etc/card.toml', a path outside of the store"),
        (tar_of(("a/card.toml", b""), kind=tarfile.SYMTYPE, target="/etc/passwd"), "neither a file nor a folder"),
        (tar_of(("a/card.toml", b""), kind=tarfile.LNKTYPE, target="b"), "neither a file nor a folder"),
        (tar_of(("a/pipe", b""), kind=tarfile.FIFOTYPE), "neither a file nor a folder"),
        (tar_of(), "is empty"),
        (tar_of(("readme.txt", b"text")), "holds readme.txt; an archive has folders of models"),
        (tar_of(("mine/weights.safetensors", b"")), "holds mine; an archive has folders of models"),
        (tar_of(("archives/card.toml", b"")), "holds archives; an archive has folders of models"),
        (tar_of(("mine/card.toml", b"name = 1")), "card.toml: "),
        (b"PK\x03\x04 no tar", "is not a tar archive"),
        (damaged(), "is not a tar archive, or it is damaged"),
    ],
)
def test_an_archive_of_something_else_is_refused_and_nothing_of_it_stays(
    data: bytes, reason: str, store: Path, server: Server
) -> None:
    archive = put(server, data)

    with pytest.raises(WeightsError) as refused:
        fetch(store, server, archive)

    assert str(refused.value).startswith("a.tar")
    assert reason in str(refused.value)
    assert [*store.iterdir()] == []
    assert [path.name for path in store.parent.iterdir()] == ["models"]


def test_weights_that_are_not_those_of_their_card_are_refused(store: Path, server: Server, tmp_path: Path) -> None:
    models = write_store(tmp_path / "damaged", OTHER)
    with (models / OTHER / "weights.safetensors").open("ab") as weights:
        weights.write(b"\0")

    with pytest.raises(WeightsError, match=r"a\.tar: tiny-segmenter: .* has the SHA-256 \w+, but the card states"):
        fetch(store, server, put(server, tar(models, OTHER)))

    assert [*store.iterdir()] == []


@pytest.mark.parametrize("separator", ["  ", " *"])
def test_a_list_is_read_as_sha256sum_writes_it(tmp_path: Path, separator: str) -> None:
    listed = tmp_path / "SHA256SUMS"
    listed.write_text(
        f"# ours\n{'a' * 64}{separator}one.tar\n\n{'b' * 64}{separator}two-1.0.tar.gz\n", encoding="utf-8"
    )

    assert store_archives.read_list(listed) == [("one.tar", "a" * 64), ("two-1.0.tar.gz", "b" * 64)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lists no archive"),
        ("# nothing yet\n", "lists no archive"),
        ("one.tar\n", "line 1: it is not a SHA-256"),
        (f"{'a' * 64}  one.tar\n{'a' * 40}  two.tar\n", "line 2: it is not a SHA-256"),
        (f"{'a' * 64}  ../one.tar\n", "line 1: it is not a SHA-256"),
        (f"{'a' * 64}  models/one.tar\n", "line 1: it is not a SHA-256"),
        ("\ud800", "cannot be read"),
    ],
)
def test_a_list_of_another_form_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    listed = tmp_path / "SHA256SUMS"
    listed.write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(WeightsError, match=reason):
        store_archives.read_list(listed)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="SHA256SUMS cannot be read"):
        store_archives.read_list(tmp_path / "SHA256SUMS")
