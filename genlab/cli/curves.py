"""`genlab curves`: how a sweep's best trial, or any one, trained, as a figure."""

from __future__ import annotations

from typing import Annotated

import tyro

from genlab.cli.pictures import check, write
from genlab.results import locate
from genlab.results import open as open_sweep


def run(
    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")],
    out: Annotated[str, tyro.conf.arg(metavar="FILE")] = "curves.png",
) -> int:
    """Draw all metrics of every epoch, and the losses and scores of every step; of a sweep whose trials have one epoch
    each, its metric over what was searched.

    Args:
        path: of a sweep, for its best trial beside the default setting, or of a trial in it (…/trials/0003); a folder
            or a URL.
        out: the picture to write; its ending says of which kind.
    """
    from genlab.report.curves import curves

    check(out)
    url, trial = locate(path)
    write(curves(open_sweep(url).records, trial), out)
    return 0
