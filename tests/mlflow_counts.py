"""How MLflow and the records of a sweep differ; as JSON by `mlflow_counts.py STORAGE SWEEP`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from types import SimpleNamespace

from made_sweeps import Seen

from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.points import report_points
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage


def counts(records: Records, tracking_uri: str) -> dict[str, int]:
    """Points and images that are there, and how many of them are missing or too many."""
    seen = Seen(SimpleNamespace(records=records), tracking_uri)
    found = dict.fromkeys(("points", "points missing", "points too many"), 0)
    found |= dict.fromkeys(("images", "images missing", "images too many"), 0)
    for trial in records.trials.values():
        files = [epoch.report for epoch in trial.epochs.values()]
        reports = [EpochReport.decode(records.storage.read_named(file), file.path) for file in files]
        there = trial.name in seen.children
        recorded = {
            "points": Counter(point for report in reports for point in report_points(report)),
            "images": Counter((key, report.epoch) for report in reports for key in report.replicas[0].images),
        }
        held = {
            "points": seen.points(trial.name) if there else Counter(),
            "images": Counter(seen.images(trial.name)) if there else Counter(),
        }
        for what in recorded:
            found[what] += held[what].total()
            found[f"{what} missing"] += (recorded[what] - held[what]).total()
            found[f"{what} too many"] += (held[what] - recorded[what]).total()
    return found


def main(storage: str, sweep: str) -> None:
    print(json.dumps(counts(Records.open(Storage(storage), sweep), f"sqlite:///{storage}/mlflow.db")))


if __name__ == "__main__":
    main(*sys.argv[1:])
