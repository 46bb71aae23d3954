"""How much memory a side of a benchmark takes."""

from __future__ import annotations

from pathlib import Path


def peak_mib() -> int:
    """The most memory that this process has had resident, in MiB; its own alone, not that of what started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
