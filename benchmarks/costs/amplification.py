"""`python -m benchmarks.costs.amplification`: the cost of the worst image of each format, and of a photo as large.

Each body is a flat image, which compresses best: one with `--pixels` pixels, mostly rejected, and one with as many
pixels as are always allowed. The cost is the CPU time of decoding and preprocessing in this process. It is compared
with that of a JPEG photo of the same number of bytes. `--rest` is the other CPU time of an image in all processes, in
milliseconds: HTTP and a network like ResNeSt-50 (20 ms at 100 images/s on two cores).
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
BYTES_PER_PIXEL = 0.3  # in a photo as a JPEG of usual quality


@dataclass(frozen=True)
class FlatImage:
    """An image with many pixels in few bytes: its format, its mode and the encoder's options."""

    kind: str
    mode: str
    options: dict[str, Any]

    def body(self, pixels: int) -> bytes:
        """Return the file, with an aspect ratio of 4:3."""
        height = math.isqrt(pixels * 3 // 4)
        out = io.BytesIO()
        Image.new(self.mode, (pixels // height, height)).save(out, self.kind, **self.options)
        return out.getvalue()


def many_scans(pixels: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan, which refines nothing, as often as is allowed."""
    body = FlatImage("JPEG", "RGB", {"progressive": True}).body(pixels)
    last = body.rfind(b"\xff\xda")
    scan = body[last:-2]
    most = min(
        decompression_bombs.MAX_SCANS,
        max(decompression_bombs.MIN_SCANS, decompression_bombs.MAX_SCANNED_PIXELS // pixels),
    )
    return body[:-2] + scan * (most - body.count(b"\xff\xda")) + body[-2:]


BODIES: Final[dict[str, Callable[[int], bytes]]] = {
    "JPEG": FlatImage("JPEG", "RGB", {}).body,
    "JPEG, grey": FlatImage("JPEG", "L", {}).body,
    "JPEG, progressive": FlatImage("JPEG", "RGB", {"progressive": True}).body,
    "JPEG, many scans": many_scans,
    "PNG, RGB": FlatImage("PNG", "RGB", {}).body,
    "PNG, RGBA": FlatImage("PNG", "RGBA", {}).body,
    "PNG, 16 bits": FlatImage("PNG", "I;16", {}).body,
    "PNG, 1 bit": FlatImage("PNG", "1", {}).body,
    "PNG, palette": FlatImage("PNG", "P", {"transparency": 0}).body,
    "WEBP, lossless": FlatImage("WEBP", "RGBA", {"lossless": True, "method": 0}).body,
    "WEBP": FlatImage("WEBP", "RGB", {"method": 0}).body,
    "GIF": FlatImage("GIF", "P", {"transparency": 0}).body,
    "BMP": FlatImage("BMP", "P", {}).body,
    "TIFF, deflate": FlatImage("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}).body,
    "TIFF, LZW, CMYK": FlatImage("TIFF", "CMYK", {"compression": "tiff_lzw"}).body,
    "TIFF, group 4": FlatImage("TIFF", "1", {"compression": "group4"}).body,
    "AVIF": FlatImage("AVIF", "RGBA", {"speed": 10}).body,
}


def cost_ms(body: bytes, spec: Input) -> tuple[float, str]:
    """Return the CPU milliseconds of an image, the least of three runs, and its problem code or `ok`."""
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
    """Return a JPEG photo of about `size` bytes, at least 8 pixels high."""
    height = max(8, math.isqrt(int(size / BYTES_PER_PIXEL * 3 / 4)))
    return corpus.make([(height * 4 // 3, height)], per_size=1)[0].content


@click.command(help=__doc__)
@click.option("--pixels", default=decoder.ImageLimits().max_pixels, show_default=True)
@click.option("--task", type=click.Choice(list(SPECS)), default=CLASSIFY.name, show_default=True)
@click.option("--rest", default=20.0, show_default=True, help="CPU milliseconds of an image besides decoding.")
@click.option("--only", default="", help="Measure only bodies whose name begins with this text.")
@click.option("--bound", default=20.0, show_default=True, help="Fail if the ratio of an accepted body is higher.")
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
        raise click.ClickException(f"an accepted image costs {worst:.1f} times an ordinary one with as many bytes")


if __name__ == "__main__":
    main()
