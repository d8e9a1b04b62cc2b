"""`python -m benchmarks.costs.amplification`: the cost of the worst image of each format, beside a photo of its
bytes.

Every body is a flat picture, which packs best: one of `--pixels`, mostly refused, and one of the pixels that are always
allowed. Cost is processor time, of decoding and preparing, in this process. Beside it stands a JPEG photo with as many
bytes; `--rest` is what a picture costs besides, in milliseconds of all processes: HTTP, and a network of ResNeSt-50's
size (20 at 100 pictures a second on two cores).
"""

import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import click
from PIL import Image

from service.errors import ServiceError
from service.imaging import decoder, decompression_bombs
from service.measure.load import corpus
from service.models.inputs import Input
from service.tasks import decode_jobs
from service.tasks.classification.classify import CLASSIFY
from service.tasks.segmentation.segment import SEGMENT

SPECS: Final = {
    CLASSIFY.name: Input(profile="official", size=224),
    SEGMENT.name: Input(profile="proportional", size=520, multiple=8),
}
ROW = "{:<20} {:>3} {:>9} {:<20} {:>8} {:>9} {:>9} {:>7}"
BYTES_PER_PIXEL = 0.3  # of a photo as a JPEG of usual quality


@dataclass(frozen=True)
class Worst:
    """A way to make many pixels of few bytes: a format, a mode and the writer's options."""

    kind: str
    mode: str
    options: dict[str, Any]

    def body(self, pixels: int) -> bytes:
        """The file, four wide by three high."""
        height = math.isqrt(pixels * 3 // 4)
        out = io.BytesIO()
        Image.new(self.mode, (pixels // height, height)).save(out, self.kind, **self.options)
        return out.getvalue()


def many_scans(pixels: int) -> bytes:
    """A progressive JPEG whose last scan, which refines nothing, comes as often as it may."""
    body = Worst("JPEG", "RGB", {"progressive": True}).body(pixels)
    last = body.rfind(b"\xff\xda")
    scan = body[last:-2]
    most = min(
        decompression_bombs.MAX_SCANS,
        max(decompression_bombs.MIN_SCANS, decompression_bombs.MAX_SCANNED_PIXELS // pixels),
    )
    return body[:-2] + scan * (most - body.count(b"\xff\xda")) + body[-2:]


BODIES: Final[dict[str, Callable[[int], bytes]]] = {
    "JPEG": Worst("JPEG", "RGB", {}).body,
    "JPEG, grey": Worst("JPEG", "L", {}).body,
    "JPEG, progressive": Worst("JPEG", "RGB", {"progressive": True}).body,
    "JPEG, many scans": many_scans,
    "PNG, RGB": Worst("PNG", "RGB", {}).body,
    "PNG, RGBA": Worst("PNG", "RGBA", {}).body,
    "PNG, 16 bits": Worst("PNG", "I;16", {}).body,
    "PNG, 1 bit": Worst("PNG", "1", {}).body,
    "PNG, palette": Worst("PNG", "P", {"transparency": 0}).body,
    "WEBP, lossless": Worst("WEBP", "RGBA", {"lossless": True, "method": 0}).body,
    "WEBP": Worst("WEBP", "RGB", {"method": 0}).body,
    "GIF": Worst("GIF", "P", {"transparency": 0}).body,
    "BMP": Worst("BMP", "P", {}).body,
    "TIFF, deflate": Worst("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}).body,
    "TIFF, LZW, CMYK": Worst("TIFF", "CMYK", {"compression": "tiff_lzw"}).body,
    "TIFF, group 4": Worst("TIFF", "1", {"compression": "group4"}).body,
    "AVIF": Worst("AVIF", "RGBA", {"speed": 10}).body,
}


def cost_ms(body: bytes, spec: Input) -> tuple[float, str]:
    """Processor milliseconds of a picture, the least of three, and the code that it is refused with, or ok."""
    taken, outcome = [], "ok"
    for _ in range(3):
        begun = time.process_time()
        try:
            decode_jobs.prepare(body, decoder.ImageLimits(), [spec])
        except ServiceError as error:
            outcome = error.code()
        taken.append((time.process_time() - begun) * 1e3)
    return min(taken), outcome


def photo(size: int) -> bytes:
    """A photo of about so many bytes, and of one pixel's side at the least."""
    height = max(8, math.isqrt(int(size / BYTES_PER_PIXEL * 3 / 4)))
    return corpus.make([(height * 4 // 3, height)], per_size=1)[0].content


@click.command(help=__doc__)
@click.option("--pixels", default=decoder.ImageLimits().max_pixels, show_default=True)
@click.option("--task", type=click.Choice(list(SPECS)), default=CLASSIFY.name, show_default=True)
@click.option("--rest", default=20.0, show_default=True, help="Milliseconds of a processor besides decoding.")
@click.option("--only", default="", help="Bodies whose name begins with this.")
@click.option("--bound", default=20.0, show_default=True, help="Fail where an accepted body's ratio is above.")
def main(pixels: int, task: str, rest: float, only: str, bound: float) -> None:
    """Measure each, and print a table."""
    worst = 0.0
    click.echo(ROW.format("body", "MP", "bytes", "outcome", "ms", "photo ms", "decoding", "whole"))
    for (name, make), count in product(BODIES.items(), (decoder.ImageLimits().free_pixels, pixels)):
        if not name.startswith(only):
            continue
        body = make(count)
        bad, outcome = cost_ms(body, SPECS[task])
        good, _ = cost_ms(photo(len(body)), SPECS[task])
        ratio = (bad + rest) / (good + rest)
        worst = max(worst, ratio if outcome == "ok" else 0.0)
        figures = (f"{bad:.0f}", f"{good:.1f}", f"{bad / good:.0f}", f"{ratio:.1f}")
        click.echo(ROW.format(name, f"{count / 1e6:.0f}", len(body), outcome, *figures))
    if worst > bound:
        raise click.ClickException(f"an accepted picture costs {worst:.1f} times an ordinary one of its size")


if __name__ == "__main__":
    main()
