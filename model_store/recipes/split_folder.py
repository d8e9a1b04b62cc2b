"""Link the photos of a split into a folder for each label, for `resnest-service calibrate`.

`python model_store/recipes/split_folder.py --photos DIR --split fit --out DIR`
"""

import argparse
from pathlib import Path

import photos


def main() -> None:
    """Create the folders and their links."""
    parser = argparse.ArgumentParser(description="Link the photos of a split into a folder for each label.")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--split", choices=("fit", "validation", "test"), default="validation")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    for photo in photos.read(args.photos):
        if photo.split == args.split:
            link = args.out / photo.label / photo.path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(photo.path.resolve())


if __name__ == "__main__":
    main()
