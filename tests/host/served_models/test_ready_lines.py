"""The lines that `run` prints when it is ready."""

from pathlib import Path

from service.host.run_options import RunOptions
from service.host.served_models import ready_lines
from service.host.served_models.selection import select_models
from tests.stores import write_store


def test_the_first_request_to_try_fits_the_models_and_names_the_stores_picture(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store", "tiny-classifier", "tiny-segmenter")
    classifier, segmenter = select_models(RunOptions(folder, ("tiny-classifier", "tiny-segmenter")), print)
    options = RunOptions(folder, port=9000)
    assert ready_lines.example(options, [classifier, segmenter]) == (
        "curl -F file=@photo.jpg http://127.0.0.1:9000/v1/classify"
    )
    (folder / "example.jpg").touch()
    assert ready_lines.example(options, [segmenter]) == (
        f"curl -F file=@{folder.resolve()}/example.jpg http://127.0.0.1:9000/v1/segment"
    )


def test_a_first_request_has_the_key_of_the_caller_if_it_needs_one() -> None:
    assert ready_lines.first_request("https://vision.example", [], needs_key=True) == (
        'curl -H "X-API-Key: $KEY" -F file=@photo.jpg https://vision.example/v1/classify'
    )
