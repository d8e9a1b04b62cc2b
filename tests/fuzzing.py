"""Bodies and requests that are nearly right: what a hostile or broken client sends."""

import asyncio
import base64
import random
import re
from collections.abc import Sequence

BOUNDARY = "fuzzed"
JUNK = (0, 0xFF, 0x0A, 0x0D, 0x20, 0x22, 0x2D, 0x3A, 0x7B)  # among them what frames lines, headers, parts and JSON

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

Headers = dict[str, str]


def mutated(chance: random.Random, original: bytes) -> bytes:
    """A few bytes overwritten, and one in five cut off."""
    data = bytearray(original)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        data[chance.randrange(len(data))] = chance.choice((*JUNK, chance.randrange(256)))
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    return bytes(data)


def enveloped(chance: random.Random, content: bytes) -> tuple[bytes, Headers]:
    """A picture in one of the three shapes of a body; of two shapes one in three is itself mutated."""
    shape = chance.choice(("raw", "form", "json"))
    if shape == "raw":
        return content, {"Content-Type": "application/octet-stream"}
    if shape == "json":
        body = b'{"images": [{"content": "' + base64.b64encode(content) + b'"}]}'
        return _perhaps(chance, body), {"Content-Type": "application/json"}
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
    body = head + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    return _perhaps(chance, body), {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def written(path: str, body: bytes, headers: Headers) -> bytes:
    """A request as bytes, after which the connection is to be closed."""
    lines = {"Host": "a", "Connection": "close", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def spoilt(chance: random.Random, request: bytes) -> bytes:
    """A request whose lines were lost, doubled, moved or overwritten; the body mostly stays."""
    head, blank, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(lines))
        _SPOILING[chance.randrange(len(_SPOILING))](chance, lines, at)
        lines = lines or [b""]
    return chance.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\0")).join(lines) + blank + body


def _lose(_chance: random.Random, lines: list[bytes], at: int) -> None:
    del lines[at]


def _double(_chance: random.Random, lines: list[bytes], at: int) -> None:
    lines.insert(at, lines[at])


def _move(chance: random.Random, lines: list[bytes], at: int) -> None:
    lines.insert(chance.randrange(len(lines)), lines.pop(at))


def _overwrite(chance: random.Random, lines: list[bytes], at: int) -> None:
    lines[at] = mutated(chance, lines[at]) if lines[at] else b":"


def _lie(chance: random.Random, lines: list[bytes], _at: int) -> None:
    lines.append(chance.choice(LIES))


LIES = (
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
_SPOILING = (_lose, _double, _move, _overwrite, _lie)


def _perhaps(chance: random.Random, body: bytes) -> bytes:
    return mutated(chance, body) if chance.random() < 1 / 3 else body


def choose(chance: random.Random, originals: Sequence[bytes]) -> bytes:
    """One of the pictures, mutated."""
    return mutated(chance, chance.choice(originals))


async def answers(port: int | None, request: bytes, patience_s: float = 60) -> bytes:
    """What is sent until its verdict, or until it closes, to a client that sends this and leaves when tired."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    told = b""
    try:
        writer.write(request)
        async with asyncio.timeout(patience_s):
            while piece := await reader.read(65_536):
                told += piece
                if set(STATUS.findall(told)) - {b"100"}:
                    break
    except (ConnectionError, TimeoutError):  # it closed without reading on, or waits for more
        pass
    finally:
        writer.close()
    return told
