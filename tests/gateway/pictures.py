"""Pictures for the gateway's tests, as bytes."""

import base64
import io

import numpy as np
from PIL import Image


def picture(seed: int = 0, *, size: tuple[int, int] = (96, 72), kind: str = "PNG") -> bytes:
    """A picture of coarse random blocks: each seed another one."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(out, kind)
    return out.getvalue()


def upright_in_exif(size: tuple[int, int] = (96, 72)) -> bytes:
    """A JPEG that its camera held sideways: its pixels are `size`, upright it is the other way round."""
    image = Image.open(io.BytesIO(picture(size=size)))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    return out.getvalue()


def in_json(*contents: bytes, prefix: str = "") -> dict[str, list[dict[str, str]]]:
    """A JSON request of these pictures."""
    return {"images": [{"content": prefix + base64.b64encode(content).decode()} for content in contents]}


def of_floats() -> bytes:
    """A TIFF of 32-bit floats, which have no agreed way to colours."""
    out = io.BytesIO()
    Image.fromarray(np.ones((16, 16), np.float32)).save(out, "TIFF")
    return out.getvalue()


CORRUPT = picture(1)[:60]
