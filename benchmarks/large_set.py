"""What a set of image files larger than memory costs: seconds to build, images a second, and resident memory.

Writes uncompressed images of 128 x 128 pixels into a folder, twice: as many as were asked for, and a tenth of them.
Each set is built by one process, and trained on by another: a small classifier of rotations, in batches of 64. Both
have a budget that even the smaller set exceeds, as on a machine of little memory: so nothing depends on this machine's.
Prints one JSON line.

uv run benchmarks/large_set.py --folder /tmp/large_set
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

SIZE = 128
BYTES = 3 * SIZE * SIZE
BATCH = 64
FEWEST = 10
CHILD = """
import json, sys, time
from pathlib import Path
from genlab.data import load, memory
from genlab.tasks import ClassifierConfig, Context
from genlab.tasks.classifier import ClassifierTask
from genlab.training import Loop
folder, budget, steps = f"image_folder:{sys.argv[1]}", int(sys.argv[2]), int(sys.argv[3])
memory.budget = lambda device: budget
begin = time.monotonic()
load(folder, "train", image_size=128)
loaded = time.monotonic()
if steps:
    config = ClassifierConfig(dataset=folder, image_size=128, width=4, augment="flip", epoch_steps=steps)
    assert not Loop(ClassifierTask(config, Context())).advance(1).diverged
status = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps({"load": loaded - begin, "train": time.monotonic() - loaded, "peak_mib": round(peak / 1024)}))
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Build and train on a set of image files, and on one a tenth its size; prints one JSON line."""

    folder: Path
    """Where the files and the built sets go: needs 2.2 times the gigabytes. Must be absent or empty."""
    gigabytes: float = 10.0
    """Of image files, in the larger set."""
    budget_megabytes: int = 16
    """What a process may keep of one set in memory."""
    passes: float = 0.25
    """How much of a set is trained on."""
    keep: bool = False
    """Leave the files and the built sets there."""

    def __post_init__(self) -> None:
        if self.gigabytes * 1e9 / 10 <= self.budget_megabytes * 1e6:
            raise ValueError("a tenth of the gigabytes must be above the budget")


def main(options: Options) -> None:
    """The smaller set first, then the larger one."""
    folder = options.folder.absolute()
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    count = int(options.gigabytes * 1e9 / BYTES)
    try:
        small = measure(folder / "small", count // 10, options)
        large = measure(folder / "large", count, options)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    ratios = {key: round(large[key] / small[key], 2) for key in ("build_peak_mib", "train_peak_mib")}
    print(
        json.dumps({"budget_bytes": options.budget_megabytes * 10**6, "large": large, "small": small, "ratio": ratios})
    )


def measure(folder: Path, count: int, options: Options) -> dict[str, float]:
    """Write `count` image files, build the set of them, and train on it."""
    write(folder / "train", count)
    for other in ("validation", "test"):  # otherwise a tenth of the training images
        write(folder / other, FEWEST)
    build = run(folder, 0, options)
    steps = max(1, int(options.passes * count / BATCH))
    train = run(folder, steps, options)
    return {
        "files": count,
        "bytes_of_files": sum(entry.stat().st_size for entry in os.scandir(folder / "train")),
        "build_seconds": round(build["load"], 1),
        "build_peak_mib": build["peak_mib"],
        "open_seconds": round(train["load"], 1),
        "images_per_second": round(steps * BATCH / train["train"]),
        "train_peak_mib": train["peak_mib"],
    }


def write(folder: Path, count: int) -> None:
    """Noise; the first bytes say which image it is."""
    folder.mkdir(parents=True)
    noise = os.urandom(BYTES)
    for item in range(count):
        header = f"P6 {SIZE} {SIZE} 255\n".encode()
        (folder / f"{item:07}.ppm").write_bytes(header + item.to_bytes(8, "little") + noise[8:])


def run(folder: Path, steps: int, options: Options) -> dict[str, float]:
    """A fresh process that opens the set, building it where it is absent, and trains so many steps."""
    arguments = [str(folder), str(options.budget_megabytes * 10**6), str(steps)]
    environment = {**os.environ, "GENLAB_CACHE": str(folder.parent / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    main(tyro.cli(Options))
