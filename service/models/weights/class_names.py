"""Compare the labels of a model with the class names that its checkpoint states.

A wrong order of labels is no error of the weights. Every answer would be plausible and wrong.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from service.models import text_file
from service.models.labels import Label
from service.models.weights.checksums import WeightsError

MAX_DEPTH: Final = 3  # of members in members, as for weights
SHOWN: Final = 10  # names in an error message
# Members that training scripts save, in lower case. OpenMMLab's is `CLASSES`, that of Hugging Face `id2label`.
MEMBERS: Final = frozenset(
    (
        *("classes", "class_names", "classnames", "names", "labels", "label_names", "categories"),
        *("class_to_idx", "class_to_index", "class2idx", "label2id", "label_to_idx", "label_to_id"),
        *("idx_to_class", "index_to_class", "idx2class", "id2label", "idx_to_label", "id_to_label"),
    ),
)

Names = Mapping[int, str]


def check(content: Any, labels: Sequence[Label]) -> None:
    """Raise `WeightsError` where the content of a checkpoint says that one of these labels is another class.

    WordNet ids count as labels. Names that are none of the labels, such as those of another language, are not compared.
    Neither are names of another number of classes.
    """
    ids = _ids(labels)
    for member, names in stated(content):
        if len(names) != len(labels) or set(names) != set(range(len(labels))):
            continue
        moved = [index for index, name in names.items() if ids.get(text_file.folded(name), index) != index]
        if moved:
            index = min(moved)
            order = ", ".join(names[each] for each in range(min(SHOWN, len(names))))
            more = ", ..." if len(names) > SHOWN else ""
            raise WeightsError(
                f"the checkpoint says in {member} that class {index} is {names[index]}, and the labels say "
                f"{labels[index].label}; write the labels in the order of the checkpoint: {order}{more}"
            )


def _ids(labels: Sequence[Label]) -> dict[str, int]:
    """Return the class id by folded label and by WordNet id, without those that several classes have."""
    names = [(text_file.folded(name), each.class_id) for each in labels for name in (each.label, each.wnid) if name]
    counts = Counter(name for name, _ in names)
    return {name: class_id for name, class_id in names if counts[name] == 1}


def stated(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Names]]:
    """Yield each member of nested mappings that has class names, with the name of each class id."""
    if not isinstance(content, Mapping) or len(path) > MAX_DEPTH:
        return
    for key, value in content.items():
        if not isinstance(key, str):
            continue
        names = _by_id(value) if key.lower() in MEMBERS else None
        if names:
            yield "/".join((*path, key)), names
        else:
            yield from stated(value, (*path, key))


def _by_id(value: Any) -> Names | None:
    """Return the names by class id of a list of names, or of a mapping in either direction; None for anything else."""
    if isinstance(value, list | tuple):
        return dict(enumerate(value)) if all(isinstance(each, str) for each in value) else None
    if not isinstance(value, Mapping):
        return None
    pairs = [(key, name) if isinstance(name, str) else (name, key) for key, name in value.items()]
    found = {int(index): name for index, name in pairs if isinstance(name, str) and str(index).isdecimal()}
    return found if len(found) == len(value) else None
