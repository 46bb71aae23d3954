"""Bytecode of what a sweep's processes import, where Python may not write it beside the sources."""

from __future__ import annotations

import importlib.util
import os
import sys

from genlab.data.paths import cache_root


def keep_bytecode() -> None:
    """Where PYTHONDONTWRITEBYTECODE is set, and what is installed here was never compiled, have bytecode kept in
    genlab's cache, by this process and all that it starts. Whoever imports a module first writes it.

    Otherwise each process of each sweep compiles all that it imports: a small sweep took 37 s of a CPU from its start
    to its end, and takes 16. Where Python may write beside the sources, or finds bytecode there, nothing is done.
    """
    if not sys.dont_write_bytecode or sys.pycache_prefix:
        return
    torch = importlib.util.find_spec("torch")  # most of what is imported
    if torch is None or torch.origin is None or os.path.exists(importlib.util.cache_from_source(torch.origin)):
        return
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(cache_root() / "bytecode")
    sys.dont_write_bytecode = False
