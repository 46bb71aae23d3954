"""How much of a set a process keeps in memory."""

from __future__ import annotations

import psutil
import torch

_SHARE = 8


def budget(device: torch.device) -> int:
    """The bytes of one set that a process may keep on `device`: an eighth of its memory. Larger sets are read from
    their files, or from the host's memory, batch by batch."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // _SHARE
    return psutil.virtual_memory().total // _SHARE
