"""Write a test set of composites in COCO's layout: test photos pasted on each other and in grids, by a fixed seed.

`python model_store/recipes/composites.py --photos DIR --out DIR`; then `resnest-service evaluate starter-detector DIR`.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import photos
from PIL import Image
from scenes import CLASSES, Scene, Scenes, has_animal, masked_image

from service.imaging import rle

SEED = 60
COUNT = 120
SIDES = ((240, 320), (320, 240))  # of the scenes, in pixels
SPLIT = "composites"


def scenes_of(folder: Path, count: int = COUNT) -> list[Scene]:
    """Return scenes of the test photos. Half of them are pasted and half are grids."""
    rows = [photo for photo in photos.read(folder) if photo.split == "test"]
    pets = [each for photo in rows if photo.mask_kind == "trimap" and has_animal(each := masked_image(photo))]
    drawn = Scenes(pets, [masked_image(photo) for photo in rows if photo.label not in CLASSES])
    random.seed(SEED)
    return [drawn.draw(*SIDES[index % 2], ("pasted", "grid")[index // 2 % 2]) for index in range(count)]


def write(folder: Path, scenes: list[Scene]) -> None:
    """Write the scenes as PNGs, and their boxes and masks."""
    (folder / SPLIT).mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, start=1):
        name = f"{number:04}.png"
        Image.fromarray(scene.image).save(folder / SPLIT / name)
        height, width = scene.image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for mask, class_id, box in zip(scene.masks, scene.class_ids, scene.boxes(), strict=True):
            left, top, right, bottom = box.tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(class_id) + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": rle.encode(mask.astype(np.uint8))[1]},
                }
            )
    categories = [{"id": index, "name": label} for index, label in enumerate(CLASSES, start=1)]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "annotations" / f"instances_{SPLIT}.json").write_text(json.dumps(content))


def main() -> None:
    """Write the test set."""
    parser = argparse.ArgumentParser(description="Write a test set of composites in COCO's layout.")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    write(args.out, scenes_of(args.photos))


if __name__ == "__main__":
    main()
