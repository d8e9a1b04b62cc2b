"""What a newcomer writes wrongly for curl: the answer says what arrived, and its command works as it stands."""

import asyncio
import json
import re
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import Running
from tests.gateway.fixtures.images import image_bytes

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

# The options of curl, the code of the answer, and what its detail says.
MISTAKES = {
    "another field": ("-F img=@photo.jpg", "empty_body", "a file in the field 'img'. Send the image in the field 'f"),
    "two other fields": ("-F a=@photo.jpg -F b=@photo.jpg", "empty_body", "has a file in the fields 'a', 'b'."),
    "a field like a parameter": ("-F mode=@photo.jpg", "empty_body", "has a file in the field 'mode'."),
    "a forgotten @": ("-F image=photo.jpg", "unsupported_media_type", "'image' holds the text photo.jpg, not that"),
    "both": ("-F img=photo.jpg", "empty_body", "no file, only text in the field 'img'"),
    "a name with blanks": ("-F 'file=my photo.jpg'", "unsupported_media_type", "holds the text my photo.jpg, not"),
    "a text": ("-F file=hello", "unsupported_media_type", "'file' holds text, not a file"),
    "a URL in a field": ("-F file=https://a.example/b.jpg", "unsupported_media_type", "They are a URL: send the image"),
    "no field": ("-F token=", "empty_body", "no file, only text in the field 'token'"),
    "a body without @": ("--data-binary photo.jpg", "unsupported_media_type", "is the text photo.jpg, not that file"),
    "-d without @": ("-d photo.jpg", "unsupported_media_type", "is the text photo.jpg, not that file"),
    "a declared body": (
        "-H Content-Type:image/jpeg --data-binary photo.jpg", "unsupported_media_type", "name of a file, not its"),
    "a body that is a URL": (
        "-H Content-Type:image/jpeg -d https://a.example/b.jpg", "unsupported_media_type", "They are a URL"),
    "JSON without @": ("--json photo.jpg", "malformed_json", "is the text photo.jpg, not JSON"),
    "JSON with a name": (
        """--json '{"images": [{"content": "photo.jpg"}]}'""", "invalid_base64", "is the name of a file"),
    "other JSON": ("""--json '{"image": "AAAA"}'""", "malformed_json", "image: There is no such member. Did you mean"),
}  # fmt: skip


async def curl(options: str, url: str, folder: Path) -> dict[str, Any]:
    """Return the document that curl gets for these options in that folder."""
    process = await asyncio.create_subprocess_shell(
        f"curl --silent --max-time 20 {options} '{url}'", cwd=folder, env={"PATH": "/usr/bin:/bin"}, stdout=PIPE
    )
    output, _ = await process.communicate()
    document: dict[str, Any] = json.loads(output)
    return document


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_the_detail_says_what_arrived_and_its_command_works(
    mistake: str, listening: Running, tmp_path: Path
) -> None:
    options, code, words = MISTAKES[mistake]
    for name in ("photo.jpg", "my photo.jpg"):
        (tmp_path / name).write_bytes(image_bytes(kind="JPEG"))
    async with listening() as client:
        url = f"{client.base_url}/v1/classify"
        refused = await curl(options, url, tmp_path)
        repaired = re.search(r"-F ('[^']+'|[\w=@]+\.jpg)", refused["detail"])
        answer = await curl(repaired[0], url, tmp_path) if repaired else None

    assert (refused["code"], words in refused["detail"]) == (code, True), refused["detail"]
    assert answer is None or answer["results"][0]["predictions"]
    assert answer or code in {"malformed_json", "invalid_base64"} or "They are" in refused["detail"]
