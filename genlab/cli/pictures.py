"""Pictures that a command writes where `--out` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genlab.errors import GenlabError, nearest

if TYPE_CHECKING:
    from PIL import Image


def check(out: str) -> None:
    """Refuse a picture that could not be written, before anything is drawn.

    Raises:
        GenlabError: it is of a kind that Pillow cannot write, or in a folder that does not exist.
    """
    from PIL import Image

    Image.init()
    kinds = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.SAVE}
    target = Path(out)
    if target.suffix.lower() not in kinds:
        ending = target.suffix or "no ending"
        raise GenlabError(f"--out {out}: no picture can be written with {ending}: {_advice(target, kinds)}")
    if not target.parent.is_dir():
        raise GenlabError(f"--out {out}: there is no folder {target.parent}")
    if target.is_dir():
        raise GenlabError(f"--out {out} is a folder: name a file in it")


def write(picture: Image.Image, out: str) -> None:
    """Write a picture and print its path.

    Raises:
        GenlabError: it cannot be written.
    """
    try:
        picture.save(out)
    except (OSError, ValueError) as error:
        raise GenlabError(f"--out {out} cannot be written: {error}") from error
    print(out)


def _advice(target: Path, kinds: set[str]) -> str:
    usual = {".png", ".jpg", ".webp", ".tif", ".gif"} & kinds
    return nearest(target.suffix.lower(), usual) if target.suffix else f"write {target}.png"
