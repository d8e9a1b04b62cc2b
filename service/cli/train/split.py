"""Deal photos into parts of about equal size, with the same share of each label, and near copies in one part."""

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


def deal(class_ids: Ids, groups: Ids, parts: int, seed: int) -> Ids:
    """Return the part of each photo, 0 to `parts` - 1. The same seed deals the same photos alike.

    All photos of a group get one part. The first parts get one group more of a label whose groups do not divide evenly.
    """
    generator = np.random.default_rng(seed)
    found = np.full(len(class_ids), -1)
    for class_id in np.unique(class_ids):
        own = np.unique(groups[(class_ids == class_id) & (found < 0)])
        dealt = dict(zip(generator.permutation(own).tolist(), np.arange(len(own)) % parts, strict=True))
        inside = np.isin(groups, own)
        found[inside] = [dealt[group] for group in groups[inside].tolist()]
    return found
