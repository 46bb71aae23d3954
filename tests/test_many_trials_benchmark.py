"""The slow store of the benchmark of many trials: what a sweep writes may lie there, as in any store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from sides import slow_files  # noqa: E402

SECONDS = 0.03

IN_A_PROCESS = """
import sys, time
from genlab.tracking.storage import AlreadyThere, Storage

storage = Storage(sys.argv[1])
began = time.monotonic()
named = [storage.write_new(f"trials/0000/{n}", b"some") for n in range(10)]
print(time.monotonic() - began)
assert storage.read_named(named[3]) == b"some"
assert storage.names("trials") == ["0000"] and storage.sizes("trials/0000") == {str(n): 4 for n in range(10)}
storage.delete("trials/0000/3")
storage.delete("trials/0000/3")
assert not storage.exists("trials/0000/3") and storage.exists("trials/0000/4")
try:
    storage.write_new("trials/0000/4", b"other")
except AlreadyThere:
    pass
else:
    raise AssertionError("what somebody else wrote is written over")
"""


def test_a_process_that_loads_nothing_of_it_knows_the_slow_store_and_each_call_takes_its_time(tmp_path: Path) -> None:
    environment = {**os.environ, **slow_files.install(tmp_path / "known", SECONDS)}
    environment["PYTHONPATH"] += os.pathsep + str(ROOT)
    command = [sys.executable, "-c", IN_A_PROCESS, f"slow://{tmp_path}/store"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) >= 10 * SECONDS
