"""docs/RESULTS.md: statements, numbers and verdicts, written from statements.toml and the records alone."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence.record import FORMAT
from evidence.verdicts import NOT_RUN, VERDICTS, Finding, judge_all, side_of

from genlab.errors import GenlabError

HEAD = """# What the reports say, and what came out

Written by `uv run benchmarks/statements.py write` from `benchmarks/statements.toml` and the records in `docs/results`;
no number and no verdict is set by hand. The statements, the numbers that decide them and the borders were written
down before anything was run; a row that was changed or added later says so.

**The rule.** A quantity is computed for each seed: a value, a difference of two sides, or their ratio, always of the
same seeds, so that both sides began from the same noise and saw the same batches wherever the setting allows it. Its
95 % interval is Student's t over the seeds (of a ratio in logarithms). With three seeds at least a statement is
**confirmed** if the whole interval lies where the report says, and **refuted** if all of it lies elsewhere; else it is
*not decided*. With one seed it was *seen once*. Loss values of two different losses are *not comparable*. Where what a
row presupposes was not seen there is *no case*. What has no record was *not run*. A side is a trial of a run: the base
setting, which stands with the run's numbers, or the base with what is named in its place.

An interval of three seeds is wide (4.3 standard errors): *not decided* is no evidence against a statement. Nothing is
corrected for the number of rows: of twenty true borders one interval would miss its own by chance. Networks judge the
images, none of them a person: a verdict holds for the number in the row, at the size and length of training named here.
Each sweep trains its judge anew, from the same seed; with another number of threads or another processor it comes out
slightly different (the accuracies stand with the runs), and so does everything it judges.
"""
MAIN = ("frechet_distance", "recall", "precision", "diversity", "accuracy/conditional", "elbo", "error/denoised")
"""Metrics of the tables of runs, where a run has them."""
QUANTITIES = {"value": "mean", "difference": "difference", "ratio": "ratio"}


def read(folder: Path) -> dict[str, Any]:
    """The records in a folder, by name.

    Raises:
        GenlabError: one is of another format, or calls itself something else than its file.
    """
    return {path.stem: read_one(path) for path in sorted(folder.glob("*.json"))}


def read_one(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        GenlabError: there is none, or it is of another format, or calls itself something else than its file.
    """
    if not path.exists():
        raise GenlabError(f"there is no record {path}")
    record = json.loads(path.read_text())
    if record.get("format") != FORMAT or record.get("name") != path.stem:
        raise GenlabError(f"{path} is no record {path.stem} of format {FORMAT}: record it again")
    return record


def text(table: Mapping[str, Any], records: Mapping[str, Any], pictures: Path) -> str:
    """The whole page.

    Args:
        table: statements.toml.
        records: by name.
        pictures: the folder in which those that exist are shown.

    Raises:
        GenlabError: a record that no run of the table names.
    """
    if stray := sorted(set(records) - set(table["runs"])):
        raise GenlabError(f"records without a [runs.NAME] in statements.toml: {', '.join(stray)}")
    findings = judge_all(table["statements"], table["runs"], records)
    counted = Counter(finding.verdict for finding in findings.values())
    parts = [HEAD]
    if table.get("cuts"):
        parts += ["**What was cut**, on both sides of a comparison alike:\n", _list(table["cuts"])]
    words = ", ".join(f"{counted[verdict]} {verdict}" for verdict in VERDICTS if counted[verdict])
    parts.append(f"{len(findings)} statements: {words}.\n")
    for name, title in table["groups"].items():
        own = [one for one in table["statements"] if one["group"] == name]
        parts.append(f"## {title}\n")
        parts.append(_statements(own, findings))
        parts += [
            f"![{one['caption']}](results/{one['file']})\n*{one['caption']}*\n"
            for one in table.get("pictures", [])
            if one["group"] == name and (pictures / one["file"]).exists()
        ]
        runs = dict.fromkeys(side_of(one, side)["run"] for one in own for side in ("a", "b") if side in one)
        parts += ["Runs:\n", _list([_what(run, table["runs"][run], records.get(run)) for run in runs])]
    parts += ["## Slips of the reports\n", _list([slip["says"] for slip in table["slips"]])]
    parts += ["## The numbers\n", _list([f"`{name}`: {meaning}." for name, meaning in table["metrics"].items()])]
    parts.append("## Every run\n")
    parts += [_run(name, run, records[name]) for name, run in table["runs"].items() if name in records]
    if left := [name for name in table["runs"] if name not in records]:
        parts.append(f"Not run: {', '.join(left)}.\n")
    return "\n".join(parts)


def _statements(own: Sequence[Mapping[str, Any]], findings: Mapping[str, Finding]) -> str:
    rows = ["| statement | the number | stated | what came out | verdict |", "|---|---|---|---|---|"]
    for one in own:
        finding = findings[one["id"]]
        verdict = f"**{finding.verdict}**" if finding.verdict in ("confirmed", "refuted") else finding.verdict
        detail = f": {finding.detail}" if finding.detail else ""
        note = f" ({one['note']})" if "note" in one else ""
        cells = [f"{one['says']}{note}", _sides(one), _claim(one), _numbers(one, finding), f"{verdict}{detail}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _sides(statement: Mapping[str, Any]) -> str:
    """What the sides are and what is computed of them, in words."""
    sides = {name: side_of(statement, name) for name in ("a", "b") if name in statement}
    same = {
        key: sides["a"][key]
        for key in ("run", "metric", "epochs", "where", "take")
        if key in sides["a"] and all(side.get(key) == sides["a"][key] for side in sides.values())
    }
    told = [f"`{same['metric']}`"] if "metric" in same else []
    told += [_side(same)] if any(key in same for key in ("run", "epochs", "where", "take")) else []
    text = " ".join(told)
    if len(sides) == 2:
        each = [_side({key: value for key, value in side.items() if key not in same}, True) for side in sides.values()]
        sign = {"difference": "minus", "ratio": "over"}[statement["compare"]]
        text = f"{text}: {each[0] or 'base'} {sign} {each[1] or 'base'}" if text else f"{each[0]} {sign} {each[1]}"
    return text


def _side(own: Mapping[str, Any], with_metric: bool = False) -> str:
    words = [f"`{own['metric']}`"] if with_metric and "metric" in own else []
    words += [own["run"]] if "run" in own else []
    words += [f"{key}={value}" for key, value in own.get("where", {}).items()]
    words += ["the winner"] if own.get("trial") else []
    take = {"min": "lowest of ", "max": "highest of ", "rising": "share of rises in "}.get(own.get("take", ""), "")
    if "epochs" in own:
        epochs = own["epochs"]
        span = f"epoch {epochs}" if isinstance(epochs, int) else f"epochs {epochs[0]} to {epochs[1]}"
        words.append(f"{take}{span}")
    return ", ".join(words)


def _numbers(statement: Mapping[str, Any], finding: Finding) -> str:
    if finding.verdict == NOT_RUN or not finding.sides:
        return "–"
    sides = " and ".join(spread(list(side.values())) for side in finding.sides.values())
    count = max(len(side) for side in finding.sides.values())
    told = f"{sides} ({count} seed{'s' * (count > 1)})"
    if finding.estimate is None:
        return told
    name = QUANTITIES[statement["compare"]]
    interval = f" [{number(finding.interval.low)}, {number(finding.interval.high)}]" if finding.interval else ""
    return f"{told}; {name} {number(finding.estimate)}{interval}"


def _claim(statement: Mapping[str, Any]) -> str:
    if "claim" not in statement:
        return "–"
    borders = [f"{side} {statement['claim'][side]:g}" for side in ("above", "below") if side in statement["claim"]]
    return f"{QUANTITIES[statement['compare']]} {' and '.join(borders)}"


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation."""
    mean = number(statistics.fmean(values))
    return f"{mean} ± {number(statistics.stdev(values))}" if len(values) > 1 else mean


def number(value: float) -> str:
    """Three significant digits, without an exponent where a person would write none."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        digits = 3 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{digits}f}" if value else "0"
    return f"{value:.2e}"


def _what(name: str, run: Mapping[str, Any], record: Mapping[str, Any] | None) -> str:
    """What a run is; its commands stand with its numbers, unless it has none."""
    if record is None:
        return f"{name}, {run['what']}: not run yet; {', '.join(f'`{command}`' for command in run['commands'])}"
    return f"[{name}](#{name}), {run['what']}{' (not ended)' if record['partial'] else ''}"


def _run(name: str, run: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """One record: where and on what it ran, and its trials."""
    lines = [f"### {name}\n", f"{run['what'][0].upper()}{run['what'][1:]}.\n"]
    several = len(record["sweeps"]) > 1
    for position, sweep in enumerate(record["sweeps"], 1):
        commit = (sweep["commit"] or "unknown")[:12] + (", with changes" if sweep["dirty"] else "")
        versions = ", ".join(f"{key} {value}" for key, value in sweep["versions"].items())
        hours = f", {number(sweep['hours'])} hours of a lane"
        accurate = [number(one["accuracy/clean"]) for one in sweep["prepared"] if one.get("accuracy/clean") is not None]
        judges = f"; accuracy of the judge {', '.join(accurate)}" if accurate else ""
        told = f"commit {commit}; {versions}; data {_data(sweep)}{judges}"
        which = f"sweep {position}: " if several else ""
        lines.append(f"- {which}`{sweep['command']}`: {sweep['date']}{hours}; {told}")
    lines.append(f"- base: {', '.join(f'{key}={_setting(value)}' for key, value in run['base'].items())}")
    devices = sorted({f"{trial['device']}" for trial in record["trials"] if trial["device"]})
    lines.append(f"- on {', '.join(devices)}\n")
    present = {key for trial in record["trials"] for seed in trial["seeds"].values() for key in seed["metrics"]}
    metrics = [key for key in MAIN if key in present] + (["epoch_seconds"] if "epoch_seconds" in present else [])
    head = [
        "sweep: trial" if several else "trial",
        "setting, where it is not the first's",
        "ends",
        "epochs of steps",
        "seeds",
    ]
    head += [f"`{key}`" for key in metrics]
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    first = record["trials"][0]["settings"] if record["trials"] else {}
    for trial in record["trials"]:
        replicas = list(trial["seeds"].values())
        epochs = max((len(curve) for one in replicas for curve in one["metrics"].values()), default=0)
        sweep, _, name = trial["trial"].rpartition("/")
        numbers = [i for i, one in enumerate(record["sweeps"], 1) if one["sweep"] == sweep]
        cells = [f"{numbers[0]}: {name}" if several else name]
        own = {key: value for key, value in trial["settings"].items() if key != "seed"}
        others = own.items() if trial["settings"] is first else own.items() - first.items()
        cells.append(", ".join(f"{key}={_setting(value)}" for key, value in sorted(others)) or "–")
        cells += [trial["ends"], f"{epochs} of {trial['steps_per_epoch']}", ", ".join(trial["seeds"]) or "–"]
        for key in metrics:
            of_all = key == "epoch_seconds"
            each = [_last(one["metrics"].get(key, []), of_all) for one in replicas]
            known = [value for value in each if value is not None]
            cells.append(spread(known) if known else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _last(curve: Sequence[float | None], mean: bool) -> float | None:
    """The last epoch's value; the mean of all epochs of what is measured in each."""
    if mean:
        known = [value for value in curve if value is not None]
        return statistics.fmean(known) if known else None
    return curve[-1] if curve else None


def _data(sweep: Mapping[str, Any]) -> str:
    told = []
    for descriptions in sweep["data"].values():
        told += [
            f"{one['name']} {one['split']} {'×'.join(map(str, one['shape']))} ({one['digest']})"
            for one in descriptions
            if "name" in one and "shape" in one
        ]
    return ", ".join(told) or "not recorded"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) + "\n"
