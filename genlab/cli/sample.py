"""`genlab sample`: a picture of what a trained network draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import tyro

from genlab.cli.pictures import check, write
from genlab.errors import GenlabError
from genlab.tasks.registry import MODULES

if TYPE_CHECKING:
    import numpy as np

STEPS = 10  # of an interpolation


def run(
    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")],
    n: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    out: Annotated[str, tyro.conf.arg(metavar="FILE")] = "samples.png",
    interpolate: tyro.conf.FlagCreatePairsOff[bool] = False,
    per_class: tyro.conf.FlagCreatePairsOff[bool] = False,
    seed: int = 0,
    replica: int = 0,
) -> int:
    """Draw images by a trained generator or decoder, without its data set. The same seed gives the same picture.

    Args:
        path: of a checkpoint (….state.safetensors), of a trial (its last epoch) or of a sweep (its best trial), a file,
            a folder or a URL.
        n: how many images, 64 if absent; with --interpolate pairs of latents, 4 if absent; with --per-class latents,
            8 if absent.
        out: the picture to write; its ending says of which kind.
        interpolate: draw the way from one latent to another, two rows for each pair: on the straight line, and on the
            arc between them.
        per_class: a class a row, a latent a column; for networks that were trained with labels.
        seed: of the latents.
        replica: which one, of a trial with several seeds.
    """
    from PIL import Image

    if interpolate and per_class:
        raise GenlabError("--interpolate and --per-class draw two kinds of rows: give one of them")
    if n is not None and n < 1:
        raise GenlabError(f"--n is {n}: it must be 1 or more")
    check(out)
    write(Image.fromarray(_picture(path, n, interpolate, per_class, seed, replica)), out)
    return 0


def _picture(path: str, n: int | None, interpolate: bool, per_class: bool, seed: int, replica: int) -> np.ndarray:
    """uint8 [H, W, 3]."""
    import numpy as np

    from genlab.grids import grid, labelled
    from genlab.sampling import Sampler, find_checkpoint

    checkpoint = find_checkpoint(path)
    if checkpoint.task not in MODULES:  # its class is in a script, and to import that would be to run it
        where = f"{checkpoint.script} defines" if checkpoint.script else "a script defines"
        raise GenlabError(
            f"{path} is of the task {checkpoint.task}, which {where}, and this command runs no script: import that "
            f"task's class in Python and pass it, as in genlab.sample({path!r}, task=TheTask)"
        )
    sampler = Sampler(checkpoint, replica=replica)
    if per_class:
        return labelled(sampler.per_class(n or 8, seed), sampler.classes)
    if not interpolate:
        return grid(sampler.sample(n or 64, seed))
    kinds = {"linear": False, "spherical": True}
    drawn = [sampler.interpolate(n or 4, STEPS, spherical=spherical, seed=seed) for spherical in kinds.values()]
    rows = np.stack(drawn, 1)  # [pairs, kinds, steps, H, W, C]
    return labelled(rows.reshape(-1, *rows.shape[2:]), [*kinds] * len(rows))
