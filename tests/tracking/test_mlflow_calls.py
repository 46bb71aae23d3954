"""How a sweep is sent: within MLflow's limits, on through lost answers and refusals, with nothing lost or doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made_sweeps import START, Seen, assert_complete
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from genlab.tracking.epoch_reports import EpochReport, ReplicaReport
from genlab.tracking.mlflow_runs import Publisher
from genlab.tracking.server import Unreachable, quiet_mlflow


def publisher(sweep: Any, uri: str) -> Publisher:
    return Publisher(sweep.records.storage, sweep.records.name, sweep.records.manifest, uri)


def publish(sender: Publisher, sweep: Any, first: int = 1) -> None:
    for event in sweep.records.events[first - 1 :]:
        sender.publish(event)


def failing(
    monkeypatch: Any, method: str, error: Callable[[], Exception], when: Callable[..., bool], after: bool = True
) -> None:
    """Where `when` says so of its arguments the client's `method`, or for `log_artifact` that of the place where files
    are kept, raises, after it did what it was asked or before."""
    client = LocalArtifactRepository if method == "log_artifact" else quiet_mlflow().MlflowClient
    real = getattr(client, method)

    def call(self: Any, *args: Any, **words: Any) -> Any:
        fails = when(*args, **words)
        if fails and not after:
            raise error()
        answer = real(self, *args, **words)
        if fails:
            raise error()
        return answer

    monkeypatch.setattr(client, method, call)


def lost() -> Exception:
    return ConnectionError("the answer is lost")


def invalid() -> Exception:
    from mlflow.exceptions import MlflowException

    return MlflowException.invalid_parameter_value("not this one")


def thousand() -> EpochReport:
    """Ten curves of a hundred steps, and no metric: no room is left for a tag beside them."""
    curves = {f"c{i}": np.arange(100 * i, 100 * i + 100, dtype=np.float32) for i in range(10)}
    return EpochReport("00000", 2, START, 100, (0,), [ReplicaReport({}, curves)], host={"host": "node-a"})


def test_an_epoch_as_large_as_a_request_arrives_whole_and_its_tag_comes_last(
    make_sweep: Any, database: str, monkeypatch: Any
) -> None:
    """MLflow takes 1000 entities a request, of these 100 params and 100 tags. Here the second one of the epoch is cut
    off before the server hears of it, and then all is sent again."""
    sweep = make_sweep(environment={f"package_{i}": str(i) for i in range(130)} | {"odd=name": "x" * 9000})
    sweep.trial("00000", **{f"setting_{i}": i for i in range(250)})
    name = sweep.records.storage.write("trials/00000/long", thousand().encode())
    sweep.records.append("epoch", trial="00000", epoch=2, report=name, state=None, objective=None, ends=None)
    sizes: list[tuple[int, int, int]] = []

    def second_of_the_epoch(_: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> bool:
        sizes.append((len(metrics), len(params), len(tags)))
        return [bool(points) for points, _, _ in sizes[-2:]] == [True, True]

    with monkeypatch.context() as patched:
        failing(patched, "log_batch", lost, second_of_the_epoch, after=False)
        with pytest.raises(Unreachable):
            publish(publisher(sweep, database), sweep)
    assert 0 < sum(Seen(sweep, database).points("00000").values()) < 1000
    failing(monkeypatch, "log_batch", lost, lambda *args, **words: second_of_the_epoch(*args, **words) and False)
    publish(publisher(sweep, database), sweep)
    seen = Seen(sweep, database)
    assert seen.points("00000") == Counter(
        (f"step/c{i}", 100.0 * i + j, 1_760_000_000_000, 100 + j) for i in range(10) for j in range(100)
    )
    assert seen.children["00000"].data.params == {f"setting_{i}": str(i) for i in range(250)}
    assert seen.children["00000"].data.tags["genlab.env.package_129"] == "129"
    assert seen.children["00000"].data.tags["genlab.env.odd_name"] == "x" * 5000
    assert all(m + p + t <= 1000 and p <= 100 and t <= 100 for m, p, t in sizes)
    assert len(sizes) <= 10


def test_the_same_sender_goes_on_after_a_lost_answer(make_sweep: Any, database: str, monkeypatch: Any) -> None:
    """The run of a trial was made, and nobody heard of it."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    sweep.whole_trial("00001", 2)
    sender = publisher(sweep, database)
    publish(sender, sweep)
    sweep.whole_trial("00002", 1, lr=0.25)
    with monkeypatch.context() as patched:
        failing(patched, "create_run", lost, lambda *_, **__: True)
        with pytest.raises(Unreachable):
            publish(sender, sweep, 6)
    publish(sender, sweep, 6)
    assert assert_complete(sweep, database).children["00002"].data.params == {"lr": "0.25"}


@pytest.mark.parametrize("method", ["log_batch", "set_terminated", "log_artifact"])
def test_the_same_sender_sends_an_epoch_again_whose_answer_was_lost(
    method: str, make_sweep: Any, database: str, monkeypatch: Any
) -> None:
    sweep = make_sweep(seeds=(1, 2))
    sweep.whole_trial("00000", 2)
    sender = publisher(sweep, database)
    sender.publish(sweep.records.events[0])
    sender.publish(sweep.records.events[1])
    with monkeypatch.context() as patched:
        failing(patched, method, lost, lambda *_, **__: True)
        with pytest.raises(Unreachable):
            sender.publish(sweep.records.events[2])
    sender.publish(sweep.records.events[2])
    assert assert_complete(sweep, database).children["00000"].info.status == "FINISHED"


def test_after_a_lost_answer_no_more_is_read_than_it_may_have_changed(
    make_sweep: Any, database: str, monkeypatch: Any
) -> None:
    sweep = make_sweep()
    for name in ("00000", "00001", "00002"):
        sweep.whole_trial(name, 2)
    sweep.records.append("data", description={"train": [1]})
    sender, last = publisher(sweep, database), len(sweep.records.events)
    for event in sweep.records.events[: last - 2]:
        sender.publish(event)
    seen: list[Any] = []
    for method in ("search_runs", "get_run"):
        real = getattr(quiet_mlflow().MlflowClient, method)

        def read(self: Any, *args: Any, real: Any = real, **words: Any) -> Any:
            answer = real(self, *args, **words)
            seen.extend(answer if isinstance(answer, list) else [answer])
            return answer

        monkeypatch.setattr(quiet_mlflow().MlflowClient, method, read)
    for number, names in ((last - 1, {sweep.records.name, "00002"}), (last, {sweep.records.name})):
        with monkeypatch.context() as patched:
            failing(patched, "log_batch", lost, lambda *_, **__: True)
            with pytest.raises(Unreachable):
                sender.publish(sweep.records.events[number - 1])
        seen.clear()
        sender.publish(sweep.records.events[number - 1])
        assert {run.info.run_name for run in seen} == names and len(seen) == len(names)
    assert assert_complete(sweep, database).parent.data.tags["genlab.data"] == '{"train": [1]}'


def test_a_run_that_was_deleted_meanwhile_is_made_again(make_sweep: Any, database: str, monkeypatch: Any) -> None:
    """Somebody empties the server while it does not answer."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    sender = publisher(sweep, database)
    with monkeypatch.context() as patched:
        failing(patched, "log_batch", lost, lambda *_, metrics=(), **__: bool(metrics))
        with pytest.raises(Unreachable):
            publish(sender, sweep)
    seen = Seen(sweep, database)
    for run in (seen.parent, seen.children["00000"]):
        seen.client.delete_run(run.info.run_id)
    publish(sender, sweep)
    assert_complete(sweep, database)


def test_one_epoch_that_is_refused_keeps_no_other_back(make_sweep: Any, database: str, monkeypatch: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 3)
    sender = publisher(sweep, database)
    with monkeypatch.context() as patched:
        failing(patched, "log_artifact", invalid, lambda path, _: "+step+2+" in path)
        publish(sender, sweep)
    assert list(sender.unsent) == [("00000", 2)] and "not this one" in sender.unsent["00000", 2]
    seen = Seen(sweep, database)
    assert seen.children["00000"].data.tags["genlab.missing_epochs"] == "2"
    assert {step for key, _, _, step in seen.points("00000") if key == "kid"} == {1, 3}
    publish(sender, sweep)
    assert not sender.unsent
    seen = assert_complete(sweep, database)
    assert seen.children["00000"].data.tags["genlab.missing_epochs"] == ""


def test_epochs_whose_points_were_refused_get_no_second_image(make_sweep: Any, database: str, monkeypatch: Any) -> None:
    """As where the experiment is deleted in mid-sweep: images lie in no database. Another sender goes on."""
    sweep = make_sweep(seeds=(1, 2))
    sweep.whole_trial("00000", 4)
    with monkeypatch.context() as patched:
        failing(patched, "log_batch", invalid, lambda *_, metrics=(), **__: bool(metrics), after=False)
        sender = publisher(sweep, database)
        publish(sender, sweep)
    assert len(sender.unsent) == 4
    publish(publisher(sweep, database), sweep)
    assert_complete(sweep, database)


def test_a_sender_that_goes_on_and_is_cut_off_sends_no_second_image(
    make_sweep: Any, database: str, monkeypatch: Any
) -> None:
    """What it looked up at first does not hold what it has sent since."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 3)
    first, sender = publisher(sweep, database), publisher(sweep, database)
    for event in sweep.records.events[:2]:
        first.publish(event)
    for event in sweep.records.events[:3]:
        sender.publish(event)
    with monkeypatch.context() as patched:
        failing(patched, "log_batch", lost, lambda *_, metrics=(), **__: bool(metrics), after=False)
        with pytest.raises(Unreachable):
            sender.publish(sweep.records.events[3])
    publish(sender, sweep)
    assert_complete(sweep, database)


def test_a_trial_whose_run_is_refused_keeps_no_other_back(make_sweep: Any, database: str, monkeypatch: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    sweep.whole_trial("00001", 1)
    sweep.end()
    sender = publisher(sweep, database)
    with monkeypatch.context() as patched:
        failing(patched, "create_run", invalid, lambda *_, run_name, **__: run_name == "00000", after=False)
        publish(sender, sweep)
    assert set(sender.unsent) == {("00000", "trial"), ("00000", 1)} and "has no run" in sender.unsent["00000", 1]
    assert set(Seen(sweep, database).children) == {"00001"}
    publish(sender, sweep)
    assert not sender.unsent
    assert_complete(sweep, database)


def test_a_setting_too_long_for_mlflow_is_kept_in_a_file(make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    sweep.trial("00000", note="n" * 6000)
    sweep.trial("00001", note="n" * 6001, lr=0.5)
    publish(publisher(sweep, database), sweep)
    seen = Seen(sweep, database)
    for trial, names in (("00000", {"config.json"}), ("00001", {"config.json", "settings.json"})):
        run = seen.children[trial]
        assert run.data.params["note"] == "n" * 6000
        assert {info.path for info in seen.client.list_artifacts(run.info.run_id)} == names
