"""Nearly valid bodies and requests, like those of a hostile or broken client."""

import asyncio
import base64
import random
import re
from collections.abc import Sequence

BOUNDARY = "fuzzed"
# Bytes to insert. Some of them delimit lines, headers, parts and JSON.
JUNK = (0, 0xFF, 0x0A, 0x0D, 0x20, 0x22, 0x2D, 0x3A, 0x7B)

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

Headers = dict[str, str]


def mutate(chance: random.Random, original: bytes) -> bytes:
    """Return a copy with a few bytes overwritten. One copy in five is also truncated."""
    data = bytearray(original)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        data[chance.randrange(len(data))] = chance.choice((*JUNK, chance.randrange(256)))
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    return bytes(data)


def request_body(chance: random.Random, content: bytes) -> tuple[bytes, Headers]:
    """Return an image as one of three kinds of body, with its headers. One form or JSON body in three is mutated."""
    shape = chance.choice(("raw", "form", "json"))
    if shape == "raw":
        return content, {"Content-Type": "application/octet-stream"}
    if shape == "json":
        body = b'{"images": [{"content": "' + base64.b64encode(content) + b'"}]}'
        return _mutate_sometimes(chance, body), {"Content-Type": "application/json"}
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
    body = head + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    return _mutate_sometimes(chance, body), {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def encode_request(path: str, body: bytes, headers: Headers) -> bytes:
    """Return the bytes of a request that asks the server to close the connection."""
    lines = {"Host": "a", "Connection": "close", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def corrupt_request(chance: random.Random, request: bytes) -> bytes:
    """Return a request with lines deleted, repeated, moved, overwritten or added, and sometimes other line ends."""
    head, blank, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(lines))
        _CORRUPTIONS[chance.randrange(len(_CORRUPTIONS))](chance, lines, at)
        lines = lines or [b""]
    return chance.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\0")).join(lines) + blank + body


def _delete(_chance: random.Random, lines: list[bytes], at: int) -> None:
    del lines[at]


def _repeat(_chance: random.Random, lines: list[bytes], at: int) -> None:
    lines.insert(at, lines[at])


def _move(chance: random.Random, lines: list[bytes], at: int) -> None:
    lines.insert(chance.randrange(len(lines)), lines.pop(at))


def _overwrite(chance: random.Random, lines: list[bytes], at: int) -> None:
    lines[at] = mutate(chance, lines[at]) if lines[at] else b":"


def _add_false_header(chance: random.Random, lines: list[bytes], _at: int) -> None:
    lines.append(chance.choice(FALSE_HEADERS))


FALSE_HEADERS = (
    b"Content-Length: 0",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Content-Encoding: br",
    b"Expect: 100-continue",
    b"Request-Timeout: 1e9",
    b"Request-Timeout: \xff",
    b"Upgrade: h2c",
    b"Content-Type: multipart/form-data",
    b"Accept: ;;;q=,*",
    b"Priority: u=9;;",
    b"X-Request-ID: " + b"\x7f" * 200,
    b"X-Long: " + b"a" * 70_000,
)
_CORRUPTIONS = (_delete, _repeat, _move, _overwrite, _add_false_header)


def _mutate_sometimes(chance: random.Random, body: bytes) -> bytes:
    return mutate(chance, body) if chance.random() < 1 / 3 else body


def mutate_one(chance: random.Random, originals: Sequence[bytes]) -> bytes:
    """Return a mutated copy of one of the images."""
    return mutate(chance, chance.choice(originals))


async def exchange(port: int | None, request: bytes, patience_s: float = 60) -> bytes:
    """Send a request and return what the server sends until a final status, the end of the connection or a timeout."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(request)
        async with asyncio.timeout(patience_s):
            while piece := await reader.read(65_536):
                received += piece
                if set(STATUS.findall(received)) - {b"100"}:
                    break
    except (ConnectionError, TimeoutError):  # the server closed without reading on, or waits for more
        pass
    finally:
        writer.close()
    return received
