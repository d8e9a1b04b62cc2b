"""`python -m tests.inputs.table`: send the inputs of public reports to a running service, and print what came of each.

A row is right if the answer has the expected status, code and warnings. It is declined if that answer is a refusal with
a reason, although the caller wanted a result. The program exits with 1 if a row is wrong. The inputs that are files of
an operator (checkpoints, data sets, text files, environments) have no URL: `pytest tests/inputs` tries them.
"""

import base64
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import click
import httpx
import orjson

from service.measure.tables import table
from service.tasks.classification.domain import WARNING
from tests.imaging.formats import test_missing_rows
from tests.inputs import test_uploads
from tests.odd_images import written

PHOTO = test_uploads.photo()
CLASSIFY, SEGMENT = "/v1/classify", "/v1/segment"
FORM = "multipart/form-data; boundary=B"
DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a.jpg"'
JSON = "application/json"


class Answer(NamedTuple):
    """Status, and the problem's code or the first image's warnings."""

    status: int
    code: str = ""
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([str(self.status), self.code, *self.warnings]).strip()


OK = Answer(200)
INVALID, KIND, MEDIA = (
    Answer(422, "invalid_parameter"),
    Answer(415, "image_kind_unsupported"),
    (Answer(415, "unsupported_media_type")),
)
CORRUPT, BAD_JSON, BAD_HTTP = (
    Answer(422, "image_corrupt"),
    Answer(400, "malformed_json"),
    (Answer(400, "malformed_request")),
)


class Row(NamedTuple):
    """One input: its part of the list of reports, what it is, how it is sent, and the right answer."""

    part: str
    name: str
    send: Callable[[httpx.Client], Answer]
    right: Answer
    declined: bool = False


def answer(response: httpx.Response) -> Answer:
    """Return what counts of a response."""
    document = response.json() if "json" in response.headers.get("content-type", "") and response.content else {}
    if isinstance(document, dict) and "code" in document:
        return Answer(response.status_code, document["code"])
    results = document.get("results", [{}]) if isinstance(document, dict) else [{}]
    if "error" in results[0]:
        return Answer(response.status_code, results[0]["error"]["code"])
    warnings = [
        each for each in results[0].get("warnings", ()) if each != WARNING
    ]  # what the model says of made images
    return Answer(response.status_code, warnings=tuple(warnings))


def post(path: str, content: bytes = PHOTO, kind: str | None = None) -> Callable[..., Answer]:
    """Return a function that sends this body."""
    given = {"Content-Type": kind} if kind else {}
    return lambda client: answer(client.post(path, content=content, headers=given))


def form(fields: dict[str, str], path: str = CLASSIFY) -> Callable[..., Answer]:
    """Return a function that sends a photo in a form with these other fields."""
    return lambda client: answer(client.post(path, files={"file": ("a.jpg", PHOTO)}, data=fields))


def in_json(content: str) -> Callable[..., Answer]:
    """Return a function that sends this text in place of the base64 of an image."""
    return post(CLASSIFY, orjson.dumps({"images": [{"content": content}]}), JSON)


def raw(*head: str, body: bytes = PHOTO, half_close: bool = False) -> Callable[..., Answer]:
    """Return a function that sends these lines and this body over a connection of its own."""

    def send(client: httpx.Client) -> Answer:
        address = urlsplit(str(client.base_url))
        with socket.create_connection((address.hostname, address.port or 80), timeout=20) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            got = b""
            while chunk := connection.recv(65536):
                got += chunk
        found, _, rest = got.partition(b"\r\n\r\n")
        while found.startswith(b"HTTP/1.1 100"):
            found, _, rest = rest.partition(b"\r\n\r\n")
        status = int(found.split()[1]) if found else 0
        return Answer(status, "" if status < 400 else orjson.loads(rest[: rest.rindex(b"}") + 1])["code"])

    return send


def of_model(path: str, method: str = "GET", **sent: object) -> Callable[[httpx.Client], Answer]:
    """Return a function that asks about the default classifier, named in place of NAME."""

    def send(client: httpx.Client) -> Answer:
        models = client.get("/v1/models").json()["models"]
        name = next(each["name"] for each in models if each["task"] == "classification")
        return answer(client.request(method, path.replace("NAME", name), **sent))  # type: ignore[arg-type]

    return send


def dropped() -> Iterator[Row]:
    """Yield what a caller asks for in a place where it is not read."""
    yield Row("A1", "a form's field model", form({"model": "no-such-model"}), INVALID)
    yield Row("A1", "a form's field top_k", form({"top_k": "1"}), INVALID)
    yield Row("A1", "a form's fields mask and classes", form({"mask": "none", "classes": "cat"}, SEGMENT), INVALID)
    yield Row("A1", "top_k given twice", post(f"{CLASSIFY}?top_k=1&top_k=3"), INVALID)
    yield Row("A1", "a form's field topk", form({"topk": "1"}), INVALID)
    yield Row("A1", "a parameter of another route in a form", form({"max_detections": "1"}), INVALID)
    yield Row("A1", "a form's other fields", form({"csrf": "x"}), Answer(200, "", ("form_fields_ignored",)))
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(PHOTO).decode()]}
    infer, outputs = "/v2/models/NAME/infer", [{"name": "scores", "parameters": {"shared_memory_region": "a"}}]
    timeout = {"inputs": [tensor], "parameters": {"timeout": 1}}
    yield Row("A1", "Triton's timeout", of_model(infer, "POST", json=timeout), INVALID)
    shared = {"inputs": [tensor], "outputs": outputs}
    misplaced = {"inputs": [tensor], "parameters": {"top_k": 1}}
    yield Row("A1", "top_k among Triton's parameters", of_model(infer, "POST", json=misplaced), INVALID)
    yield Row("A1", "top_k in the URL of Triton's route", of_model(f"{infer}?top_k=1", "POST", json=timeout), INVALID)
    yield Row("A1", "Triton's shared memory", of_model(infer, "POST", json=shared), INVALID, declined=True)


def uploads() -> Iterator[Row]:
    """Yield valid files that were called damaged, and files that are not read."""
    for name, (data, warnings) in test_uploads.HARMLESS.items():
        yield Row("A2", name, post(CLASSIFY, data), Answer(200, warnings=warnings))
    for name, trailer in {"nothing": b"", "4096 zeros": bytes(4096)}.items():
        cut = PHOTO.removesuffix(test_uploads.END) + trailer
        completed = Answer(200, "", ("end_marker_missing",))
        yield Row("A2", f"JPEG, {name} in place of its end", post(CLASSIFY, cut), completed)
    half = PHOTO[: len(PHOTO) // 2]
    yield Row("A2", "half a JPEG", post(CLASSIFY, half), CORRUPT)
    for name, short in test_missing_rows.SHORT.items():
        yield Row("A2", name, post(CLASSIFY, short()), CORRUPT)
    yield Row("A2", "half a JPEG with an end marker", post(CLASSIFY, half + test_uploads.END), CORRUPT)
    for name, (data, _) in test_uploads.KINDS.items():
        yield Row("A2", name, post(CLASSIFY, data), KIND, declined=True)
    for name, data in test_uploads.RAW.items():
        yield Row("A2", f"a camera's raw file: {name}", post(CLASSIFY, data), KIND, declined=True)
    part = DISPOSITION + b"\r\n\r\n" + PHOTO + b"\r\n"
    padded = b"--B \r\n" + part + b"--B-- \r\n"
    blank = b'--B\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--B\r\n' + part + b"--B--\r\n"
    yield Row("A2", "blanks behind the boundary", post(CLASSIFY, padded, FORM), OK)
    yield Row("A2", "a file input left blank", post(CLASSIFY, blank, FORM), OK)


def clients() -> Iterator[Row]:
    """Yield what clients of other servers and encoders of text send."""
    text = orjson.dumps({"images": [{"content": base64.b64encode(PHOTO).decode()}]})
    yield Row("A5", "JSON with a byte order mark", post(CLASSIFY, b"\xef\xbb\xbf" + text, JSON), OK)
    yield Row("A5", "JSON in UTF-16", post(CLASSIFY, text.decode().encode("utf-16"), JSON), BAD_JSON, declined=True)
    binary = {"content": PHOTO, "headers": {"Inference-Header-Content-Length": "0"}}
    yield Row("A5", "Triton's raw binary request", of_model("/v2/models/NAME/infer", "POST", **binary), OK)
    yield Row("A5", "Triton's repository index", of_model("/v2/repository/index", "POST", json={}), OK)
    yield Row("A5", "Triton's model config", of_model("/v2/models/NAME/config"), OK)
    old = of_model("/v1/models/NAME:predict", "POST", json={"instances": [1]})
    yield Row("A5", "KServe's first protocol", old, Answer(404, "route_not_found"), declined=True)
    yield Row("A5", "an object store's media type", post(CLASSIFY, kind="binary/octet-stream"), OK)


def http_edges() -> Iterator[Row]:
    """Yield unusual HTTP."""
    length, host = f"Content-Length: {len(PHOTO)}", "Host: a"
    line, old = f"POST {CLASSIFY} HTTP/1.1", f"POST {CLASSIFY} HTTP/1.0"
    yield Row("A6", "a half-closed connection", raw(line, host, length, half_close=True), OK)
    yield Row("A6", "HTTP/1.0 without a length", raw(old), Answer(411, "length_required"))
    yield Row("A6", "HTTP/1.1 without Host", raw(line, length), BAD_HTTP)
    coded = raw(line, host, "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")
    yield Row("A6", "Transfer-Encoding: gzip, chunked", coded, BAD_HTTP, declined=True)


def found_later() -> Iterator[Row]:
    """Yield the reports that were found after the list was made."""
    progressive, part = test_uploads.photo(progressive=1), PHOTO + b"\r\n--B--\r\n"
    cut = progressive[: progressive.rindex(b"\xff\xda")] + test_uploads.END
    coarse = Answer(200, "", ("scans_missing",))
    yield Row("new", "a progressive JPEG without its last scan", post(CLASSIFY, cut), coarse)
    encoded = base64.b64encode(PHOTO).decode()
    yield Row("new", "base64 in lines of 76 characters", in_json(base64.encodebytes(PHOTO).decode()), OK)
    yield Row("new", "base64 without padding, for URLs", in_json(encoded.translate({43: "-", 47: "_", 61: ""})), OK)
    yield Row("new", "a data: URI in capitals", in_json("DATA:image/jpeg;BASE64," + encoded), OK)
    changed = in_json(encoded.replace("+", " "))
    refused = Answer(400, "invalid_base64")
    yield Row("new", "base64 whose plus signs became blanks", changed, refused, declined=True)
    yield Row("new", "a URL in place of base64", in_json("https://a.example/b.jpg"), refused, declined=True)
    curl = "application/x-www-form-urlencoded"
    yield Row("new", "curl --data-binary without a type", post(CLASSIFY, PHOTO, curl), OK)
    lines = b"".join(line.partition(b"\0")[0] for line in PHOTO.splitlines())
    yield Row("new", "curl -d @photo.jpg, which removes line ends", post(CLASSIFY, lines, curl), MEDIA, declined=True)
    yield Row("new", "an image declared as JSON", post(CLASSIFY, PHOTO, JSON), BAD_JSON, declined=True)
    extended = b"--B\r\nContent-Disposition: form-data; name=file; filename*=utf-8''caf%C3%A9.jpg\r\n\r\n" + part
    yield Row("new", "a form with filename* alone", post(CLASSIFY, extended, FORM), OK)
    whole = b"--B\r\n" + DISPOSITION + b"\r\n\r\n" + part
    yield Row("new", "a form declared as an image", post(CLASSIFY, whole, "image/jpeg"), MEDIA, declined=True)
    unnamed = post(CLASSIFY, whole, "multipart/form-data")
    yield Row("new", "a form without its boundary", unnamed, Answer(400, "malformed_multipart"), declined=True)
    mangled = written("PNG").decode("utf-8", "replace").encode()
    yield Row("new", "a PNG that a gateway decoded as UTF-8", post(CLASSIFY, mangled), MEDIA, declined=True)
    yield Row("new", "a byte order mark before a JPEG", post(CLASSIFY, b"\xef\xbb\xbf" + PHOTO), MEDIA, declined=True)


@click.command(help=__doc__)
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Address of the running service.")
@click.option("--all", "everything", is_flag=True, help="Print all rows, not only the wrong ones.")
def main(url: str, *, everything: bool) -> None:
    """Send all rows and print the table."""
    rows, verdicts = [], Counter[str]()
    with httpx.Client(base_url=url, timeout=60) as client:
        for row in (*dropped(), *uploads(), *clients(), *http_edges(), *found_later()):
            came = row.send(client)
            verdict = "wrong" if came != row.right else "declined" if row.declined else "right"
            verdicts[verdict] += 1
            if everything or verdict == "wrong":
                rows.append((row.part, row.name, str(came), str(row.right), verdict))
    if rows:
        click.echo(table(("PART", "INPUT", "CAME", "RIGHT", "VERDICT"), rows))
    click.echo(", ".join(f"{verdicts[name]} {name}" for name in ("right", "declined", "wrong")))
    sys.exit(verdicts["wrong"] > 0)


if __name__ == "__main__":
    main()
