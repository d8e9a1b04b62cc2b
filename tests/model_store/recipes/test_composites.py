"""The test set of composites: what is written is what `evaluate` reads."""

from pathlib import Path

import composites
import numpy as np
from scenes import CLASSES

from service.measure.accuracy import datasets
from tests.model_store.recipes.runs import run_command


def test_the_written_set_is_read_as_the_same_scenes(photos_folder: Path, tmp_path: Path) -> None:
    scenes = composites.scenes_of(photos_folder, count=6)
    composites.write(tmp_path, scenes)

    found = datasets.read(tmp_path)

    assert (found.layout, len(found.images)) == ("coco", 6)
    for image, scene in zip(found.images, scenes, strict=True):
        assert image.instances is not None
        assert image.size == scene.image.shape[1::-1]
        assert [each.label for each in image.instances] == [CLASSES[each] for each in scene.class_ids]
        for instance, mask, box in zip(image.instances, scene.masks, scene.boxes(), strict=True):
            left, top, width, height = instance.box
            assert (left, top, left + width, top + height) == tuple(box)
            assert instance.draw is not None
            assert np.array_equal(instance.draw(), mask)


def test_the_same_photos_give_the_same_set(photos_folder: Path) -> None:
    first, second = (composites.scenes_of(photos_folder, count=4) for _ in range(2))

    assert all(np.array_equal(one.image, two.image) for one, two in zip(first, second, strict=True))
    assert sum(len(each.masks) for each in first) > 4


def test_the_command_writes_the_whole_set(photos_folder: Path, tmp_path: Path) -> None:
    run_command("composites", photos=photos_folder, out=tmp_path)

    assert len(list((tmp_path / composites.SPLIT).glob("*.png"))) == composites.COUNT
