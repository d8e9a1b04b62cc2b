"""A client that openapi-python-client generates from the OpenAPI description passes mypy, and reads the answers."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ran
from tests.e2e.running import Running
from tests.e2e.test_answers import upload

pytestmark = pytest.mark.e2e

IMAGE_ROUTES = ("classify", "segment", "embed", "explain", "detect")
PROGRAM = """
import json
import sys
from io import BytesIO
from pathlib import Path

from service_client import AuthenticatedClient
from service_client.api.images import classify, segment
from service_client.api.models import list_models
from service_client.models import (
    ClassifiedImage, ClassifyFilesBody, ClassifyResponse, ModelList, Problem, SegmentedImage, SegmentFilesBody,
    SegmentMask, SegmentResponse,
)
from service_client.types import File

with AuthenticatedClient(base_url=sys.argv[1], token="on loopback any") as client:
    file = File(payload=BytesIO(Path(sys.argv[2]).read_bytes()), file_name="photo.jpg", mime_type="image/jpeg")

    classified = classify.sync(client=client, body=ClassifyFilesBody(file=[file]), top_k=2)
    assert isinstance(classified, ClassifyResponse)
    image = classified.results[0]
    assert isinstance(image, ClassifiedImage)
    scores = {each.label: each.score for each in image.predictions}

    file.payload.seek(0)
    segmented = segment.sync(client=client, body=SegmentFilesBody(file=[file]), mask=SegmentMask.NONE)
    assert isinstance(segmented, SegmentResponse)
    mask = segmented.results[0]
    assert isinstance(mask, SegmentedImage)

    file.payload.seek(0)
    rejected = classify.sync(client=client, body=ClassifyFilesBody(file=[file]), model=["no-such"])
    assert isinstance(rejected, Problem)

    models = list_models.sync(client=client)
    assert isinstance(models, ModelList)

names = [each.name for each in models.models]
print(json.dumps({"scores": scores, "width": mask.image.width, "code": rejected.code, "models": names}))
"""


@pytest.fixture(scope="module")
def project(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generated package, the program that uses it, and an image."""
    folder = tmp_path_factory.mktemp("generated")
    folder.joinpath("openapi.json").write_bytes(service.client.get("/openapi.json").content)
    folder.joinpath("settings.yml").write_text("package_name_override: service_client\npost_hooks: []\n")
    options = [
        "--path",
        "openapi.json",
        "--config",
        "settings.yml",
        "--meta",
        "none",
        "--output-path",
        "service_client",
    ]
    command = [sys.executable, "-m", "openapi_python_client", "generate", *options]
    said = ran(*command, folder=folder, with_errors=True)
    folder.joinpath("said").write_text(said, encoding="utf-8")
    folder.joinpath("program.py").write_text(PROGRAM, encoding="utf-8")
    folder.joinpath("photo.jpg").write_bytes(upload(1))
    return folder


def test_the_generator_leaves_out_only_bodies_whose_type_it_does_not_know(project: Path) -> None:
    said = project.joinpath("said").read_text(encoding="utf-8")
    complaints = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))]

    # It has no body for a content type `image/...`: such an image is sent as application/octet-stream.
    assert set(complaints) == {f"WARNING parsing POST /v1/{name} within images." for name in IMAGE_ROUTES}
    assert said.count("Missing schema") == len(complaints)


def test_the_generated_package_and_its_use_pass_mypy(project: Path) -> None:
    ran(sys.executable, "-m", "mypy", "--strict", "program.py", folder=project)


def test_the_generated_package_reads_the_answers(project: Path, service: Running) -> None:
    said = ran(sys.executable, "program.py", str(service.client.base_url), "photo.jpg", folder=project)
    found: dict[str, Any] = json.loads(said)

    response = service.client.post("/v1/classify?top_k=2", content=upload(1))
    expected = {each["label"]: each["score"] for each in response.json()["results"][0]["predictions"]}
    assert found["scores"] == pytest.approx(expected, abs=1e-3)
    assert (found["width"], found["code"]) == (240, "model_not_found")
    assert set(found["models"]) == {"tiny-classifier", "tiny-segmenter"}
