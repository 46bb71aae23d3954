"""The names of the data sets and of their splits; needs no torch."""

from __future__ import annotations

from genlab.errors import GenlabError, nearest

NAMES = ("digits", "mnist", "fashion_mnist", "cifar10", "celeba", "image_folder")
SPLITS = ("train", "validation", "test")


def check_name(name: str) -> None:
    """Raise GenlabError, with the nearest valid names, unless `name` is one of `NAMES` or `image_folder:SUB`.

    `image_folder` alone is the data root itself; SUB is a folder, absolute or relative to the data root.
    """
    if name in NAMES:
        return
    kind, colon, sub = name.partition(":")
    if kind == "image_folder" and colon:
        if sub:
            return
        raise GenlabError(f"data set {name!r} names no folder: image_folder:FOLDER, or image_folder for the data root")
    if colon and kind in NAMES:
        raise GenlabError(f"data set {name!r}: only image_folder takes a folder, did you mean {kind}?")
    raise GenlabError(f"no data set {name!r}: {nearest(name, NAMES)}")


def kind_of(name: str) -> str:
    """The name without the place: `image_folder` for `image_folder:FOLDER`, and any other name as it is.

    Two sets of images from a folder may be the same data though the folder was moved.
    """
    kind, colon, _ = name.partition(":")
    return kind if colon and kind == "image_folder" else name


def check_split(split: str) -> None:
    """Raise GenlabError, with the nearest valid names, unless `split` is one of `SPLITS`."""
    if split not in SPLITS:
        raise GenlabError(f"no split {split!r}: {nearest(split, SPLITS)}")
