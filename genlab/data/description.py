"""What tells whether two runs saw the same data; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from genlab.data.names import kind_of
from genlab.errors import CorruptFile


@dataclass(frozen=True)
class SetDescription:
    """An image set in words.

    Attributes:
        name: as `genlab.data.load` takes it.
        split: "train", "validation" or "test".
        shape: of the images, (N, C, S, S).
        classes: their names; () for a set without classes.
        digest: 16 hexadecimal digits, of all images and labels.
    """

    name: str
    split: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    digest: str

    @property
    def channels(self) -> int:
        return self.shape[1]

    @property
    def image_size(self) -> int:
        return self.shape[3]

    def same_data(self, other: SetDescription) -> bool:
        """Whether both are of the same images and labels, wherever these lie: of `image_folder:FOLDER` the folder does
        not count. Split, shape, classes and digest do.
        """
        return replace(self, name=kind_of(self.name)) == replace(other, name=kind_of(other.name))

    def as_json(self) -> dict[str, Any]:
        """The fields by name as JSON values: lists for tuples."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @staticmethod
    def from_json(mapping: Mapping[str, Any]) -> SetDescription:
        """The description that `as_json` gave `mapping` for; other keys are passed over.

        Raises:
            CorruptFile: keys are missing, or a value is not of its kind.
        """
        if not isinstance(mapping, Mapping):
            raise CorruptFile(f"the description of an image set is damaged: it is {mapping!r}, not a mapping")
        if missing := [field.name for field in fields(SetDescription) if field.name not in mapping]:
            raise CorruptFile(f"the description of an image set is damaged: it has no {', '.join(missing)}")
        name, split, shape, classes, digest = (mapping[field.name] for field in fields(SetDescription))
        if not _all_are(str, [name, split, digest]) or not _all_are(str, classes) or not _all_are(int, shape):
            raise CorruptFile(f"the description of an image set is damaged: {dict(mapping)}")
        if len(shape) != 4:
            raise CorruptFile(f"the description of an image set is damaged: its shape {shape} has not four sizes")
        return SetDescription(name, split, tuple(shape), tuple(classes), digest)


def _all_are(kind: type, values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, kind) for value in values)
