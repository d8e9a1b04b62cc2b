"""The command `export`."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from service.cli.options import api_key_option, path_option, service_url, store
from service.cli.predict.failures import RunFailedError

if TYPE_CHECKING:
    from service.cli.predict.annotations.annotated_image import AnnotatedImage
    from service.cli.predict.annotations.form import AnnotationForm, Annotations
    from service.cli.predict.annotations.results_lines import Answer

SOME_FAILED: Final = 3  # exit status, as of the commands whose results are read
FORMS: Final = ("coco", "yolo", "labelme", "label-studio")


@click.command()
@click.argument("results", type=click.Path(allow_dash=True, dir_okay=False, exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMS), required=True, help="AnnotationForm of the annotations.")
@path_option("--out", required=True, help="File for coco and label-studio, folder for yolo and labelme.")
@click.option(
    "--min-score", default=0.0, show_default=True, type=click.FloatRange(0, 1), help="Leave out lower scores."
)
@click.option("--skip", metavar="LABEL", multiple=True, help="Leave out a label, such as background. Repeatable.")
@click.option(
    "--tolerance",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 100),
    help="Simplification of polygons in pixels; 0 is exact.",
)
@click.option("--polygons", is_flag=True, help="Write masks as polygons in coco, too. Default: run lengths.")
@click.option(
    "--image-url",
    default="/data/local-files/?d=",
    show_default=True,
    help="What precedes the name of an image in label-studio.",
)
@store
@click.option(
    "--url",
    callback=service_url,
    help="URL of a running service that has the model, for its labels. Default: those in --store.",
)
@api_key_option
def export(
    results: Path,
    form: str,
    out: Path,
    min_score: float,
    skip: Sequence[str],
    store: Path,
    url: str | None,
    api_key: str | None,
    **options: Any,
) -> None:
    """Write the answers in RESULTS as annotations, for a labelling tool or a training program.

    RESULTS has the lines of `bulk`, or of `classify`, `detect` or `segment` with --json; - is standard input. The forms
    are COCO's JSON, YOLO's text files, LabelMe's JSON files and Label Studio's predictions.

    The exit status is 0 if every line was written, 3 if lines with a problem were left out, and 1 if the export failed.
    """
    from service.cli.predict.annotations import form as forms
    from service.cli.predict.annotations import model_labels, results_lines

    counts = {False: 0, True: 0}
    with results_lines.opened(results) as answers:
        head = list(_up_to_model(answers))
        if not head or head[-1].failed:
            raise RunFailedError(f"{results} has no answer")
        model = head[-1].record.get("model", {})
        labels = model_labels.of_service(url, api_key, model) if url else model_labels.of_store(store, model)
        with _annotations(form)(out, forms.AnnotationForm(labels=labels, **options)) as annotations:
            for answer in chain(head, answers):
                counts[answer.failed] += 1
                if not answer.failed:
                    _add(annotations, answer, model, lambda found: found.score >= min_score and found.label not in skip)
    click.echo(f"{out}: {counts[False]} images, {counts[True]} lines with a problem left out", err=True)
    if counts[True]:
        click.get_current_context().exit(SOME_FAILED)


def _up_to_model(answers: "Iterable[Answer]") -> "Iterator[Answer]":
    """Yield the lines up to the first that has an answer, which names the model."""
    for answer in answers:
        yield answer
        if not answer.failed:
            return


def _annotations(form: str) -> "Callable[[Path, AnnotationForm], Annotations]":
    from service.cli.predict.annotations.coco_file import CocoFile
    from service.cli.predict.annotations.label_studio_file import LabelStudioFile
    from service.cli.predict.annotations.labelme_files import LabelmeFiles
    from service.cli.predict.annotations.yolo_files import YoloFiles

    kinds: dict[str, Callable[[Path, AnnotationForm], Annotations]] = {
        "coco": CocoFile,
        "yolo": YoloFiles,
        "labelme": LabelmeFiles,
        "label-studio": LabelStudioFile,
    }
    return kinds[form]


def _add(
    annotations: "Annotations", answer: "Answer", model: Mapping[str, str], is_wanted: Callable[[Any], bool]
) -> None:
    """Write the annotations of one answer. Raises `RunFailedError` with the number of the line."""
    try:
        annotations.add(_image(answer, model, is_wanted))
    except RunFailedError as error:
        raise RunFailedError(f"line {answer.line}, {answer.record['file']}: {error}") from error


def _image(answer: "Answer", model: Mapping[str, str], is_wanted: Callable[[Any], bool]) -> "AnnotatedImage":
    from service.cli.predict.annotations import annotated_image

    image = annotated_image.of_record(answer.record)
    if image.model != model:
        raise RunFailedError(f"it is an answer of another model than the first, {model.get('name')}; export them apart")
    return replace(image, objects=tuple(filter(is_wanted, image.objects)))
