"""What an event must be. A sweep's folder may come from anybody: no path in it may lead out of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

TRIAL = re.compile(r"\w[\w-]*")
ENDS = (None, "completed", "pruned", "diverged")


def problem(event: Mapping[str, Any]) -> str | None:
    """What is wrong with an event, in a few words; None if nothing is. Kinds that are unknown are not looked at."""
    kind = str(event.get("event"))
    needed = {"time": _is_number, **RULES.get(kind, {})}
    for name, holds in {**needed, **MAY_HOLD.get(kind, {})}.items():
        if name not in event:
            if name in needed:
                return f"it has no {name}"
            continue
        if not holds(event[name], event):
            return f"its {name} cannot be {str(event[name])[:80]!r}"
    return None


def _is_number(value: Any, event: Mapping[str, Any]) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_mapping(value: Any, event: Mapping[str, Any]) -> bool:
    return isinstance(value, dict)


def _is_trial(value: Any, event: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and TRIAL.fullmatch(value) is not None


def _is_list_of_trials(value: Any, event: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and all(_is_trial(one, event) for one in value)


def _is_epoch(value: Any, event: Mapping[str, Any]) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_file(value: Any, event: Mapping[str, Any]) -> bool:
    """Path, length and digest of a file in the trial's own folder."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    path, size, digest = value
    own = isinstance(path, str) and re.fullmatch(rf"trials/{re.escape(str(event['trial']))}/\w[\w.-]*", path)
    return bool(own) and isinstance(size, int) and size >= 0 and isinstance(digest, str)


def _or_none(rule: Callable[[Any, Mapping[str, Any]], bool]) -> Callable[[Any, Mapping[str, Any]], bool]:
    return lambda value, event: value is None or rule(value, event)


RULES: Mapping[str, Mapping[str, Callable[[Any, Mapping[str, Any]], bool]]] = {
    "start": {"options": _is_mapping},
    "data": {"description": _is_mapping},
    "trial": {"trial": _is_trial, **dict.fromkeys(("settings", "config", "distributions"), _is_mapping)},
    "epoch": {
        "trial": _is_trial,
        "epoch": _is_epoch,
        "report": _is_file,
        "state": _or_none(_is_file),
        "objective": _or_none(_is_number),
        "ends": lambda value, event: value in ENDS,
    },
    "repair": {"trial": _is_trial, "epoch": _is_epoch, "report": _is_file, "state": _or_none(_is_file)},
    "error": {"trial": _is_trial, "epoch": _or_none(_is_epoch), "traceback": lambda value, event: type(value) is str},
    "end": {"summary": _is_mapping},
}
MAY_HOLD: Mapping[str, Mapping[str, Callable[[Any, Mapping[str, Any]], bool]]] = {
    "start": {"retry": _is_list_of_trials}
}
