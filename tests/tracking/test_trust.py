"""A sweep's folder may come from anybody: whatever it holds, it costs its own line, and nothing of its reader's."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_sweeps import Seen

import genlab
from genlab import cli
from genlab.errors import CorruptFile, GenlabError
from genlab.report.contact_sheet import contact_sheet
from genlab.report.curves import curves
from genlab.sealed import seal
from genlab.tracking.event_files import batch_path
from genlab.tracking.events import AnyEvent, Event
from genlab.tracking.outcome import outcome
from genlab.tracking.records import Records
from genlab.tracking.replay import replay
from genlab.tracking.schema import as_json, checked
from genlab.tracking.storage import Storage

FILE = ["trials/0000/epoch_0001-a.report.safetensors", 3, "0" * 64]
EPOCH: dict[str, Any] = {
    "n": 2,
    "time": 1.0,
    "event": "epoch",
    "trial": "0000",
    "epoch": 1,
    "report": FILE,
    "state": None,
    "objective": 0.5,
    "ends": None,
}
BEGAN: dict[str, Any] = {
    "n": 1,
    "time": 1.0,
    "event": "trial",
    "trial": "0000",
    "settings": {},
    "config": {"epochs": 3, "seed": 0},
    "distributions": {},
}


def is_sound(event: dict[str, Any]) -> bool:
    try:
        checked(event, AnyEvent)
    except ValueError:
        return False
    return True


def test_an_event_of_ours_is_sound(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 2)
    sweep.end()
    written = [json.loads(json.dumps(as_json(event))) for event in sweep.records.events]
    assert [checked(event, AnyEvent) for event in written] == sweep.records.events
    assert is_sound(EPOCH) and is_sound(BEGAN) and not is_sound({"event": "unknown", "n": 1, "time": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"report": ["trials/0000/../../../other", 3, ""]},
        {"report": ["/etc/passwd", 3, ""]},
        {"report": ["trials/0001/epoch_0001-a.report", 3, ""]},
        {"report": ["trials/0000/.hidden", 3, ""]},
        {"report": ["trials/0000/a/b", 3, ""]},
        {"report": ["trials/0000/", 3, ""]},
        {"report": ["trials/0000/a\n", 3, ""]},
        {"report": ["trials/0000/a", -3, ""]},
        {"report": ["trials/0000/a.report.safetensors", 1 << 40, ""]},
        {"report": ["trials/0000/a", 10**400, ""]},
        {"report": ["trials/0000/a", 3]},
        {"report": "trials/0000/a"},
        {"report": None},
        {"state": ["s3://bucket/a", 3, ""]},
        {"trial": ".."},
        {"trial": "a/b"},
        {"trial": ""},
        {"trial": 7},
        {"trial": "0000\x1b[2K"},
        {"epoch": 0},
        {"epoch": True},
        {"epoch": "1"},
        {"epoch": 10**400},
        {"objective": "0.5"},
        {"objective": float("nan")},
        {"objective": float("inf")},
        {"objective": 10**400},
        {"ends": "well"},
        {"time": None},
        {"n": 0},
        {"more": 1},
    ],
)
def test_an_event_that_leads_out_of_its_folder_or_makes_no_sense_is_refused(change: Any, make_sweep: Any) -> None:
    assert is_sound(EPOCH) and not is_sound(EPOCH | change)
    sweep = make_sweep()
    sweep.trial("0000", lr=0.1)
    for last in (2, 3):  # a damaged last event is one that was not written, any other is told
        sweep.records.storage.write(batch_path(2), seal(json.dumps(EPOCH | change)).encode())
        if last == 3:
            sweep.records.storage.write(batch_path(3), seal(json.dumps(EPOCH | {"n": 3})).encode())
            with pytest.raises(CorruptFile, match=r"00000002\.json is damaged: "):
                Records.open(sweep.storage, sweep.records.name)
        else:
            assert len(Records.open(sweep.storage, sweep.records.name).events) == 1


def floats(**changes: Any) -> dict[str, Any]:
    attributes = {"low": 0.0, "high": 1.0, "log": False, "step": None}
    return {"name": "FloatDistribution", "attributes": attributes | changes}


def integers(**changes: Any) -> dict[str, Any]:
    return {"name": "IntDistribution", "attributes": {"low": 1, "high": 9, "log": False, "step": 1} | changes}


def choices(*values: Any) -> dict[str, Any]:
    return {"name": "CategoricalDistribution", "attributes": {"choices": list(values)}}


BAD_DISTRIBUTIONS = [
    floats(**{"\x1b[8mlow": 5}),
    floats(low=2.0),
    floats(low=None),
    floats(log=True),
    floats(step=0.0),
    floats(step=-1.0),
    floats(high=float("inf")),
    floats(log="yes"),
    integers(low=10),
    integers(low=1.5),
    integers(low=0, log=True),
    integers(step=None),
    integers(step=0),
    integers(high=10**30),
    choices(),
    choices({"a": 1}),
    {"name": "FloatDistribution", "attributes": {}},
]


@pytest.mark.parametrize(
    ("drawn", "values"),
    [
        (floats(), [0.0, 0.5, 1.0, 1]),
        (floats(low=0.1, log=True), [0.1, 1.0]),
        (floats(high=0.3, step=0.1), [0.1 + 0.2]),  # rounded up beyond the end
        (floats(low=1.0), [1.0]),
        (integers(), [1, 9]),
        (integers(low=-3, high=-3, step=2), [-3]),
        (choices(1, "b", None, [2, 3]), [1, "b", None, [2, 3]]),
    ],
)
def test_a_setting_from_its_distribution_is_sound(drawn: Any, values: list[Any]) -> None:
    for value in values:
        assert is_sound(BEGAN | {"settings": {"lr": value}, "distributions": {"lr": drawn}})


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"epochs": 3}},
        {"config": {"seed": 0}},
        {"config": {"epochs": 0, "seed": 0}},
        {"config": {"epochs": True, "seed": 0}},
        {"config": {"epochs": 3, "seed": -1}},
        {"config": []},
        {"settings": {"lr": {"deep": 1}}},
        {"settings": {"lr": 10**400}},
        {"distributions": {"lr": {"name": "os.system", "attributes": {}}}},
        *({"distributions": {"lr": drawn}} for drawn in BAD_DISTRIBUTIONS),
        {"distributions": {"other": floats()}},
        {"settings": {"lr": "text"}, "distributions": {"lr": floats()}},
        {"settings": {"lr": True}, "distributions": {"lr": floats()}},
        {"settings": {"lr": 1.5}, "distributions": {"lr": floats()}},
        {"settings": {"lr": -0.5}, "distributions": {"lr": floats()}},
        {"settings": {"lr": 2}, "distributions": {"lr": choices(1, "b")}},
        *({"trial": name} for name in ("..", "a/b", "", ".", "a.b", "/")),
    ],
)
def test_a_trial_that_could_not_have_begun_is_refused(change: Any) -> None:
    assert is_sound(BEGAN | {"trial": "confirm-0007"}) and not is_sound(BEGAN | change)


def test_an_epoch_of_a_trial_that_never_began_is_refused(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.records.storage.write(batch_path(1), seal(json.dumps(EPOCH | {"n": 1})).encode())
    with pytest.raises(CorruptFile, match="are inconsistent: '0000' is used before an event begins it"):
        Records.open(sweep.storage, sweep.records.name)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.just(10**400) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(list(EPOCH)), VALUES))
def test_whatever_stands_in_an_event_is_looked_at_without_a_fault(change: dict[str, Any]) -> None:
    try:
        found: Any = checked(EPOCH | change, AnyEvent)
    except ValueError:
        return
    assert isinstance(found, Event)
    if hasattr(found, "report"):
        assert found.report.path.startswith("trials/") and ".." not in found.report.path.split("/")


# A whole folder of somebody else.


@pytest.fixture
def genlab_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command; exit code, and all that it said."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["genlab", *words])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        said = capsys.readouterr()
        return int(exit.value.code or 0), said.out + said.err

    return run


Change = Callable[[dict[str, Any]], Any]


def in_manifest(**changes: Any) -> Callable[[Any], None]:
    def spoil(sweep: Any) -> None:
        changed = {**as_json(sweep.records.manifest), **changes}
        sweep.records.storage.write("manifest.json", seal(json.dumps(changed)).encode())

    return spoil


def in_event(number: int, **changes: Any) -> Callable[[Any], None]:
    def spoil(sweep: Any) -> None:
        changed = {**as_json(sweep.records.events[number - 1]), **changes}
        sweep.records.storage.write(batch_path(number), seal(json.dumps(changed)).encode())

    return spoil


def with_file(path: str, make: Callable[[Path], Any]) -> Callable[[Any], None]:
    def spoil(sweep: Any) -> None:
        file = Path(sweep.records.storage.where(path))
        file.unlink(missing_ok=True)
        make(file)

    return spoil


def link_to(target: str) -> Callable[[Path], Any]:
    return lambda file: file.symlink_to(target)


NESTED = ("[" * 200_000 + "]" * 200_000).encode()
SPOILED = {
    "a manifest nested deeply": with_file("manifest.json", lambda file: file.write_bytes(NESTED)),
    "an event nested deeply": with_file(batch_path(1), lambda file: file.write_bytes(NESTED)),
    "options that are a list": in_manifest(options=[1]),
    "an integer of 400 digits": in_manifest(epochs=10**400),
    "an option of 400 digits": in_manifest(options={"trials": 10**400}),
    "a config without epochs": in_event(1, config={"seed": 0}),
    "an objective that is no number": in_event(2, objective="low"),
    "a manifest that is a FIFO": with_file("manifest.json", os.mkfifo),
    "an event that is a FIFO": with_file(batch_path(2), os.mkfifo),
    "a manifest that is endless": with_file("manifest.json", link_to("/dev/zero")),
    "an event that is endless": with_file(batch_path(2), link_to("/dev/zero")),
    "a manifest that is a link": with_file("manifest.json", link_to("../other/manifest.json")),
    "events that are a link": lambda sweep: (
        shutil.rmtree(sweep.records.storage.where("events")),
        Path(sweep.records.storage.where("events")).symlink_to("/"),
    ),
    "a claim that is a FIFO": lambda sweep: (
        os.mkdir(sweep.records.storage.where("drivers")),
        os.mkfifo(sweep.records.storage.where("drivers/00000001.json")),
    ),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_bad_sweep_costs_its_own_line(how: str, make_sweep: Any, database: str, genlab_says: Any) -> None:
    sound, bad = make_sweep("sound"), make_sweep("bad")
    for sweep in (sound, bad):
        sweep.whole_trial("00000", 1)
        sweep.end(best="00000")
    SPOILED[how](bad)
    storage = sound.storage.url
    code, said = genlab_says("list", storage)
    rows = [" ".join(line.split()) for line in said.splitlines()]
    assert any(row.startswith(f"{sound.records.name} ended 1 trial") for row in rows) and "Traceback" not in said
    is_read = how == "a claim that is a FIFO"  # which only says who drives
    assert is_read or (code == 1 and f"{bad.records.name} cannot be read" in rows)
    results = {result.sweep: result for result in replay(storage)}
    assert (results[sound.records.name].left, results[sound.records.name].problem) == (0, None)
    assert is_read or (results[bad.records.name].left == 1 and results[bad.records.name].problem)
    code, said = genlab_says("show", bad.records.storage.url)
    assert code == (0 if is_read else 2) and "Traceback" not in said
    if not is_read:
        assert len(said.splitlines()) == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_spoiled_record_is_more_than_a_sentence(data: st.DataObject, make_sweep: Any, tmp_path: Path) -> None:
    """Any value in the place of any other, sealed as if nothing had happened."""
    sweep = make_sweep(f"s{data.draw(st.integers(0, 10**9))}")
    sweep.whole_trial("00000", 2)
    sweep.trial("00001")
    sweep.error("00001", 1)
    sweep.end()
    number = data.draw(st.integers(0, sweep.n))
    value: Any = as_json(sweep.records.events[number - 1] if number else sweep.records.manifest)
    whole = value
    while isinstance(value, dict) and value:
        key = data.draw(st.sampled_from(sorted(value)))
        if not isinstance(value[key], dict) or not value[key] or data.draw(st.booleans()):
            value[key] = data.draw(VALUES)
            break
        value = value[key]
    path = batch_path(number) if number else "manifest.json"
    try:
        sweep.records.storage.write(path, seal(json.dumps(whole)).encode())
        results = genlab.open(sweep.records.storage.url)
        repr(results), results.trials(), results.curves(), results.summary
        contact_sheet(results.records)
        for trial in results.ranked():
            repr(trial), trial.steps(), trial.metrics_by_epoch()
        curves(results.records)
    except GenlabError as error:
        assert "\n" not in str(error)
    finally:
        shutil.rmtree(sweep.records.storage.root)


def test_what_a_link_leads_to_is_sent_nowhere(make_sweep: Any, database: str, tmp_path: Path) -> None:
    key = tmp_path / "id_rsa"
    key.write_text("a private key")
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    sweep.end()
    for name in ("contact_sheet.png", "curves.png"):
        Path(sweep.records.storage.where(name)).symlink_to(key)
    report = Path(sweep.records.storage.where(sweep.records.trials["00000"].epochs[1].report.path))
    report.rename(tmp_path / "report")
    report.symlink_to(tmp_path / "report")
    (result,) = replay(str(tmp_path / "results"))
    assert result.left == 3 and "is a link" in (result.problem or "")
    seen = Seen(sweep, database)
    files = {info.path for info in seen.client.list_artifacts(seen.parent.info.run_id)}
    assert files == {"manifest.json", "summary.json"} and seen.parent.info.status == "FINISHED"
    sent = [file for file in (tmp_path / "results").rglob("*") if file.is_file() and not file.is_symlink()]
    assert sent and not any(b"private" in file.read_bytes() for file in sent)


def test_what_is_no_picture_is_not_sent_as_one(make_sweep: Any, database: str, tmp_path: Path) -> None:
    """A file may also be put there by another name, without a link."""
    (tmp_path / "id_rsa").write_text("a private key")
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    sweep.end()
    os.link(tmp_path / "id_rsa", sweep.records.storage.where("contact_sheet.png"))
    (result,) = replay(str(tmp_path / "results"))
    assert result.left == 1 and "is no PNG picture: it is not sent" in (result.problem or "")


def test_a_folder_that_is_a_link_itself_is_read(make_sweep: Any, tmp_path: Path, genlab_says: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "theirs").symlink_to(sweep.records.storage.root)
    assert Records.sweeps(Storage(str(tmp_path / "shared"))) == ["theirs"]
    code, said = genlab_says("list", str(tmp_path / "shared"))
    assert code == 0 and "theirs" in said


@pytest.mark.parametrize(("name", "listed"), [("lost+found", False), ("theirs-20260102-030405", True)])
@pytest.mark.parametrize("how", ["closed", "loop"])
def test_a_folder_that_cannot_be_looked_into_costs_its_own_line(
    how: str, name: str, listed: bool, make_sweep: Any, database: str, genlab_says: Any, monkeypatch: Any
) -> None:
    """A colleague's, which this account may not enter, or a link that leads to itself. It costs no patience either."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    sweep.end(best="00000")
    folder, opened = Path(sweep.storage.root) / name, os.open
    if how == "loop":
        folder.symlink_to(name)
    else:
        folder.mkdir()

        def refusing(path: Any, *about: Any, **more: Any) -> int:
            if str(path) == str(folder):
                raise PermissionError(errno.EACCES, "Permission denied")
            return opened(path, *about, **more)

        monkeypatch.setattr(os, "open", refusing)
    monkeypatch.setattr("threading.Event.wait", lambda *_: pytest.fail("it waits"))
    found = Records.sweeps(sweep.storage)
    monkeypatch.undo()
    is_listed = listed and how == "closed"
    assert (name in found, sweep.records.name in found) == (is_listed, True)
    if how == "closed":
        monkeypatch.setattr(os, "open", refusing)
        monkeypatch.setattr("genlab.tracking.storage.PAUSES", (0.0,))
    code, said = genlab_says("list", sweep.storage.url)
    rows = [" ".join(line.split()) for line in said.splitlines()]
    assert any(row.startswith(f"{sweep.records.name} ended") for row in rows) and code == is_listed
    assert (f"{name} cannot be read" in rows) is is_listed
    results = {one.sweep: one.left for one in replay(sweep.storage.url, tracking_uri=database)}
    assert results == {sweep.records.name: 0} | ({name: 1} if is_listed else {})


@pytest.mark.parametrize("where", ["environment", "name of an option"])
def test_a_text_made_to_take_long_takes_none(where: str, make_sweep: Any, database: str) -> None:
    """User and password are looked for in all of it. In a test that hangs the suite ends."""
    long = "://a:" * 100_000
    sweep = make_sweep(**({"environment": {"x": long}} if where == "environment" else {"options": {long: 1}}))
    sweep.whole_trial("00000", 1)
    assert replay(sweep.storage.url, tracking_uri=database)[0].left == 0


ESCAPES = "\x1b]52;c;cm0gLXJmIC8=\x07 \x1b[8mhidden\x1b[0m \x1b[2K\rforged \u202etxt.exe \x9b1A"


def test_nothing_in_it_moves_the_cursor_or_writes_to_the_clipboard(
    make_sweep: Any, tmp_path: Path, genlab_says: Any
) -> None:
    """Names, settings, errors, commands: they are shown, with their control characters written out."""
    sweep = make_sweep(f"made{'-'}x", metric=f"kid{ESCAPES}", script=f"a{ESCAPES}.py", task=f"T{ESCAPES}")
    sweep.trial("00000", note=ESCAPES, **{f"field{ESCAPES}": 1})
    sweep.epoch("00000", 1, "completed")
    sweep.trial("00001", note="b")
    sweep.records.append("error", trial="00001", epoch=1, traceback=f"Traceback\nValueError: {ESCAPES}")
    sweep.end(command=f"uv run x {ESCAPES}", best="00000")
    renamed = tmp_path / "results" / f"named {ESCAPES.replace('/', '')}"
    Path(sweep.records.storage.root).rename(renamed)
    for words in (
        ("list", str(tmp_path / "results")),
        ("show", str(renamed)),
        ("show", f"{renamed}/trials/00000"),
        ("show", f"{renamed}/trials/00001"),
        ("show", f"{renamed}/trials/{ESCAPES}"),
        ("replay", str(tmp_path / "results"), "--tracking-uri", "sqlite:////nowhere/x.db"),
        ("curves", f"{renamed}/trials/{ESCAPES}"),
    ):
        _, said = genlab_says(*words)
        assert not any(c in said for c in "\x1b\x07\x9b\u202e\r"), words
        assert "\\x1b]52;c;" in said or "\\x9b1A" in said, words


def test_a_lines_end_in_it_makes_no_line_of_its_own(make_sweep: Any, tmp_path: Path, genlab_says: Any) -> None:
    forged = "x\nvae-20261201-999999   ended   9 trials"
    sweep = make_sweep()
    sweep.trial("00000", note=forged, **{forged: 1})
    sweep.epoch("00000", 1, "completed")
    sweep.end(command=f"uv run x{forged}", best="00000")
    renamed = tmp_path / "results" / forged
    Path(sweep.records.storage.root).rename(renamed)
    for words in (
        ("list", str(tmp_path / "results")),
        ("show", str(renamed)),
        ("show", f"{renamed}/trials/00000"),
        ("replay", str(tmp_path / "results"), "--tracking-uri", "sqlite:////nowhere/x.db"),
    ):
        _, said = genlab_says(*words)
        assert "x\\nvae-20261201" in said, words
        assert not any(line.lstrip().startswith("vae-20261201-999999") for line in said.splitlines()), words


@pytest.mark.parametrize("kind", ["manifest", "event"])
def test_a_record_that_is_too_large_is_read_no_further(
    kind: str, make_sweep: Any, genlab_says: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    many = b"[" + b"[]," * 6_000_000 + b"[]]"
    path = "manifest.json" if kind == "manifest" else batch_path(2)
    sweep.records.storage.write(path, many)
    asked: list[int] = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text, **more: (asked.append(len(text)), loads(text, **more))[1])
    code, said = genlab_says("list", sweep.storage.url)
    assert code == 1 and "bytes" in said and max(asked, default=0) < 1_000_000


def test_events_that_memory_does_not_hold_are_not_read(
    make_sweep: Any, genlab_says: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with holes take no room on a disk."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    for number in range(3, 6):
        with open(sweep.records.storage.where(batch_path(number)), "wb") as file:
            file.truncate(1 << 28)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1 << 32))
    read: list[str] = []
    real = Storage.read
    monkeypatch.setattr(Storage, "read", lambda self, path, *most: (read.append(path), real(self, path, *most))[1])
    code, said = genlab_says("list", sweep.storage.url)
    assert code == 1 and "and this machine's memory holds 536,870,912 of them" in " ".join(said.split())
    assert not any(path.startswith("events/") for path in read)


def test_a_confirmation_of_a_trial_that_is_not_there(make_sweep: Any, genlab_says: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("confirm-0007", 1)
    sweep.end()
    found = outcome(sweep.records.trials.values(), "min")
    assert found.best is not None and found.best.name == "confirm-0007" and found.gain is None
    for words in (("list", sweep.storage.url), ("show", sweep.records.storage.url)):
        assert genlab_says(*words)[0] == 0
