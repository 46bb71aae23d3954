"""What is prepared: once, by what it was made from, of any kind, also by tasks that a script defines."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_tasks
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_tasks import MeanConfig, Means, Tiny, TinyConfig
from torch import Tensor, nn

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.tasks import (
    ClassifierConfig,
    Context,
    FromCheckpoint,
    FromTask,
    FromWeights,
    Prepared,
    Report,
    build,
)
from genlab.tasks.classifier import ClassifierTask
from genlab.tracking.storage import Storage
from genlab.training import Loop, Trial, prepare, prepared
from genlab.training.loop import SPEED


@dataclass(frozen=True, kw_only=True)
class UsingConfig(TinyConfig):
    """What a trial says that it needs."""

    layer: int = 0
    needs: str = "features"
    path: str = ""

    def prepare(self) -> Mapping[str, Any]:
        return {
            "features": lambda: {"features": FromTask(MeanConfig(layer=self.layer), Means, {"features": 3})},
            "checkpoint": lambda: {"network": FromCheckpoint(self.path, Tiny)},
            "weights": lambda: {"weights": FromWeights(self.path)},
            "wild": lambda: {"wild": FromTask(TinyConfig(lr=1e30, epochs=1), Wild)},
        }[self.needs]()


class Using(Tiny):
    Config = UsingConfig


class Wild(Tiny):
    """Diverges."""

    def phases(self) -> Any:
        def loss(networks: Any, inputs: Any, config: Any) -> tuple[Tensor, dict[str, Tensor]]:
            value, _ = tiny_tasks.label_loss(networks, inputs, config)
            return value * 1e38 * 1e38, {}

        return [dataclasses.replace(super().phases()[0], loss=loss)]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    made = Storage(str(tmp_path / "storage"))
    made.make()
    return made


def found(storage: Storage, **settings: Any) -> dict[str, Prepared]:
    config = build(UsingConfig, settings)
    made = prepare(Using, [config], Context(), storage)
    return prepared(config, made.files, Context(), storage)


def test_tensors_of_a_custom_task_and_what_it_needed_itself(storage: Storage) -> None:
    features = found(storage)["features"]
    assert features.tensors["means"].shape == (4,) and features.scalars == {"layer": 0}
    assert features.metrics == {"features": 4.0} and not features.networks
    assert sorted(name.partition("-")[0] for name in storage.names("prepared")) == ["MeanConfig", "TinyConfig"]


def test_what_a_script_defines_is_prepared_anew_when_the_script_changes(storage: Storage) -> None:
    config = build(UsingConfig, {})
    files = [prepare(Using, [config], Context(), storage, script=digest).files for digest in ("a", "b", "a")]
    assert files[0] == files[2] and files[0].keys() == files[1].keys()
    assert all(files[0][key] != files[1][key] for key in files[0])


def test_other_data_are_prepared_for_anew(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same config: the files differ, and both are kept."""
    config = build(UsingConfig, {})
    before = prepare(Using, [config], Context(), storage).files
    images = tiny_tasks.noise_images
    monkeypatch.setattr(tiny_tasks, "noise_images", lambda name, count, seed=0: images(name, count, seed + 7))
    after = prepare(Using, [config], Context(), storage).files
    network = FromTask(TinyConfig(epochs=1, epoch_steps=2), Tiny).key()
    assert before[network] != after[network] and len(storage.names("prepared")) == 4


def test_tasks_with_one_config_are_told_apart(storage: Storage) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Two(TinyConfig):
        def prepare(self) -> Mapping[str, Any]:
            config = TinyConfig(epochs=1, epoch_steps=1)
            return {"tiny": FromTask(config, Tiny), "plain": FromTask(config, tiny_tasks.WithoutBatchNorm)}

    made = prepare(Using, [Two()], Context(), storage)
    each = prepared(Two(), made.files, Context(), storage)
    kinds = {name: {type(m) for m in each[name].networks["classifier"].modules()} for name in each}
    assert nn.BatchNorm2d in kinds["tiny"] and nn.BatchNorm2d not in kinds["plain"]


def test_the_task_that_is_named_trains_also_where_the_config_has_one_of_its_own(storage: Storage) -> None:
    """A config of genlab's, and a task of the author's on it."""

    class Mine(ClassifierTask):
        def networks(self) -> Any:
            return {"classifier": lambda: nn.Sequential(super(Mine, self).networks()["classifier"](), nn.Identity())}

    @dataclass(frozen=True, kw_only=True)
    class Needing(TinyConfig):
        def prepare(self) -> Mapping[str, Any]:
            config = ClassifierConfig(epochs=1, epoch_steps=1, width=2)
            return {"mine": FromTask(config, Mine), "genlabs": FromTask(config)}

    made = prepare(Using, [Needing()], Context(), storage)
    found = prepared(Needing(), made.files, Context(), storage)
    kinds = {name: type(found[name].networks["classifier"]) for name in found}
    assert kinds["mine"] is nn.Sequential and kinds["genlabs"] is not nn.Sequential
    assert len(set(made.files.values())) == 2


def test_configs_of_equal_fields_have_other_keys() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Other(TinyConfig):
        pass

    assert FromTask(TinyConfig(), Tiny).key() != FromTask(Other(), Tiny).key()
    assert FromTask(TinyConfig(), Tiny).key() != FromTask(TinyConfig(lr=0.06), Tiny).key()


def test_streams_may_be_made_of_what_was_prepared(storage: Storage) -> None:
    class Built(Using):
        def streams(self) -> Any:
            count = int(self.context.prepared["features"].metrics["features"])
            return {"first": tiny_tasks.Stream(tiny_tasks.noise_images("built", 8 * count))}

    made = prepare(Built, [build(UsingConfig, {})], Context(), storage)
    assert made.data["first"][0]["shape"] == [32, 1, 8, 8]


def test_each_setting_finds_its_own_and_what_they_share_is_made_once(storage: Storage) -> None:
    configs = [build(UsingConfig, {"layer": layer, "lr": lr}) for layer in (0, 1) for lr in (0.1, 0.2)]
    made = prepare(Using, configs, Context(), storage)
    assert len(made.files) == 3 and len(storage.names("prepared")) == 3  # two layers, one network
    means = [prepared(config, made.files, Context(), storage)["features"] for config in configs]
    assert [each.scalars["layer"] for each in means] == [0, 0, 1, 1]
    assert not torch.equal(means[0].tensors["means"], means[2].tensors["means"])
    assert made.data["first"][0]["shape"] == [48, 1, 8, 8] and len(made.data["first"]) == 1
    with pytest.raises(GenlabError, match="features was not prepared"):
        prepared(build(UsingConfig, {"layer": 2}), made.files, Context(), storage)


def test_networks_of_a_checkpoint(storage: Storage, tmp_path: Path) -> None:
    trial = Trial(Tiny, build(TinyConfig, {}), Context())
    trial.advance()
    path = tmp_path / "state.safetensors"
    path.write_bytes(trial.checkpoint().encode())
    network = found(storage, needs="checkpoint", path=str(path))["network"].networks["classifier"]
    images = torch.rand(3, 1, 8, 8)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    trained = trial.replicas[0].networks["classifier"].eval()  # type: ignore[attr-defined]
    assert torch.equal(network(images), trained(images))


@pytest.mark.parametrize("kind", ["safetensors", "pth", "nested"])
def test_a_weights_file(storage: Storage, tmp_path: Path, kind: str) -> None:
    weights = nn.Linear(3, 2).state_dict()
    if kind == "safetensors":
        path = tmp_path / "x.safetensors"
        save_file(weights, path)
    else:
        path = tmp_path / "x.pth"
        nested = {"state_dict": {f"module.{name}": each for name, each in weights.items()}, "epoch": 3}
        torch.save(weights if kind == "pth" else nested, path)
    config = build(UsingConfig, {"needs": "weights", "path": str(path)})
    made = prepare(Using, [config], Context(), storage)
    assert made.data[str(path)] == [{"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}]
    tensors = prepared(config, made.files, Context(), storage)["weights"].tensors
    assert tensors.keys() == weights.keys() and all(torch.equal(tensors[name], weights[name]) for name in weights)
    path.unlink()
    # it was copied: lanes on other nodes need not see the file; and a resume must find the same one
    assert len(storage.names("prepared")) == 1


def test_another_file_at_the_same_path_is_copied_anew(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for value in (1.0, 2.0):
        save_file({"weight": torch.full((2,), value)}, path)
        assert found(storage, needs="weights", path=str(path))["weights"].tensors["weight"].tolist() == [value] * 2
    assert len(storage.names("prepared")) == 2  # whoever began with the first still finds it


def test_of_the_names_in_a_weights_file_only_a_prefix_goes(storage: Storage, tmp_path: Path) -> None:
    names = {"module.submodule.weight": "submodule.weight", "body.module.bias": "body.module.bias"}
    path = tmp_path / "x.safetensors"
    save_file({name: torch.full((2,), float(i)) for i, name in enumerate(names)}, path)
    assert found(storage, needs="weights", path=str(path))["weights"].tensors.keys() == set(names.values())


def test_files_that_are_absent_or_damaged_are_named(storage: Storage, tmp_path: Path) -> None:
    for needs, says in (("checkpoint", "there is no file"), ("weights", "there is no file")):
        with pytest.raises(GenlabError, match=says):
            found(storage, needs=needs, path=str(tmp_path / "absent.pth"))
    (tmp_path / "bad.pth").write_bytes(b"nonsense")
    for needs in ("checkpoint", "weights"):
        with pytest.raises(CorruptFile, match=r"bad\.pth"):
            found(storage, needs=needs, path=str(tmp_path / "bad.pth"))


@pytest.mark.parametrize("needs", ["checkpoint", "weights"])
def test_what_cannot_be_read_is_no_fault_of_the_sweeps_storage(
    needs: str, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That would stop the sweep, to be resumed."""
    monkeypatch.setattr("genlab.tracking.storage.PAUSES", ())
    for path in (str(tmp_path), "http://127.0.0.1:9/x"):
        with pytest.raises(GenlabError, match=rf"^{path}, which prepare\(\) names, cannot be read: ") as raised:
            found(storage, needs=needs, path=path)
        assert not isinstance(raised.value, StorageError)


class Trap:
    """Pickled: whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_weights_file_is_read_as_data_and_holds_tensors(storage: Storage, tmp_path: Path) -> None:
    torch.save({"weight": Trap(tmp_path / "executed")}, tmp_path / "trap.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    for name, says in (("trap", "no weights file"), ("empty", "holds no tensors")):
        with pytest.raises(CorruptFile, match=rf"{name}\.pth .*{says}"):
            found(storage, needs="weights", path=str(tmp_path / f"{name}.pth"))
    assert not (tmp_path / "executed").exists() and not storage.names("prepared")


def test_what_diverged_is_refused_and_not_stored(storage: Storage) -> None:
    with pytest.raises(GenlabError, match=r"wild \(TinyConfig\) diverged in epoch 1"):
        found(storage, needs="wild")
    assert not storage.names("prepared")


@dataclass(frozen=True, kw_only=True)
class LongConfig(TinyConfig):
    """Needs what is trained for more than one epoch."""

    def prepare(self) -> Mapping[str, Any]:
        return {"network": FromTask(TinyConfig(epochs=3, epoch_steps=1, lr=0.01), Tiny)}


def test_all_epochs_are_trained_and_what_is_damaged_is_trained_again(storage: Storage) -> None:
    """To the state that a trial of the same config ends with."""
    trial = Trial(Tiny, TinyConfig(epochs=3, epoch_steps=1, lr=0.01), Context())
    for _ in range(3):
        trial.advance()
    made = prepare(Tiny, [LongConfig()], Context(), storage)
    (path,) = made.files.values()
    assert storage.read(path) == trial.checkpoint().encode()
    storage.write(path, storage.read(path)[:-1])
    assert prepare(Tiny, [LongConfig()], Context(), storage).files == made.files
    assert storage.read(path) == trial.checkpoint().encode()
    reported = {name: value for name, value in trial.reports[0].metrics.items() if name not in SPEED}
    assert prepared(LongConfig(), made.files, Context(), storage)["network"].metrics == reported


@pytest.mark.filterwarnings("ignore:.*meta parameter")
def test_networks_are_put_on_the_device_of_whoever_asks(storage: Storage) -> None:
    made = prepare(Tiny, [LongConfig()], Context(), storage)
    for device in ("meta", "cpu"):  # devices that every machine has
        found = prepared(LongConfig(), made.files, Context(device=device), storage)["network"].networks["classifier"]
        assert {each.device.type for each in found.state_dict().values()} == {device}


def test_what_genlab_trains_is_found_again_and_its_data_are_those_of_the_trials(
    storage: Storage, tmp_path: Path
) -> None:
    """Its data are found below the same root; and it does not depend on the sweep's script."""
    (tmp_path / "root" / "faces").mkdir(parents=True)
    for i in range(40):
        Image.new("L", (32, 32), 5 * i).save(tmp_path / "root" / "faces" / f"{i}.png")

    @dataclass(frozen=True, kw_only=True)
    class Judged(TinyConfig):
        def prepare(self) -> Mapping[str, Any]:
            return {"judge": FromTask(ClassifierConfig(dataset="image_folder:faces", epochs=1, epoch_steps=1, width=2))}

    context = Context(data_root=str(tmp_path / "root"))
    made = prepare(Tiny, [Judged()], context, storage)
    network = prepared(Judged(), made.files, context, storage)["judge"].networks["classifier"]
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 4)  # rotations: a flat folder has no classes
    for digest in ("a", "b"):
        assert prepare(Tiny, [Judged()], context, storage, script=digest).files == made.files


def test_how_good_it_is_is_told_and_warned_about_below_what_is_expected(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="genlab"):
        found(storage)
        found(storage)  # it is there already, and is told of all the same
    told = [record for record in caplog.records if "features 4" in record.message]
    assert len(told) == 2 and all(record.levelname == "INFO" for record in told)
    caplog.clear()
    expecting = FromTask(MeanConfig(), Means, {"features": 5.0, "accuracy": 0.0})

    @dataclass(frozen=True, kw_only=True)
    class Expecting(TinyConfig):
        def prepare(self) -> Mapping[str, Any]:
            return {"features": expecting}

    @dataclass(frozen=True, kw_only=True)
    class Content(TinyConfig):
        def prepare(self) -> Mapping[str, Any]:
            return {"features": FromTask(MeanConfig(), Means, {"features": 4.0})}

    with caplog.at_level(logging.INFO, logger="genlab"):
        prepare(Using, [Content()], Context(), storage)  # just as good as expected
        made = prepare(Using, [Expecting()], Context(), storage)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "features is 4, below 5" in warnings[0] and "accuracy is not reported, below 0" in warnings[1]
    assert {"features": 4.0} in made.metrics.values()


def test_a_given_network_from_what_was_prepared_trains_a_head(storage: Storage) -> None:
    """Fine-tuning: the body is given, the head is trained."""

    @dataclass(frozen=True, kw_only=True)
    class HeadConfig(TinyConfig):
        def prepare(self) -> Mapping[str, Any]:
            return {"body": FromTask(TinyConfig(epochs=1, epoch_steps=2), Tiny)}

    class Head(Tiny):
        Config = HeadConfig

        def networks(self) -> Any:
            return {"head": lambda: nn.Linear(2, 2)}

        def given(self) -> Any:
            return {"body": self.context.prepared["body"].networks["classifier"]}

        def phases(self) -> Any:
            def loss(networks: Any, inputs: Any, config: Any) -> Any:
                images, labels = inputs["first"]
                return nn.functional.cross_entropy(networks["head"](networks["body"](images)), labels), {}

            return [dataclasses.replace(super().phases()[0], updates={"head": self.optimizer}, loss=loss)]

        def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
            return Report()

    config = HeadConfig()
    made = prepare(Head, [config], Context(), storage)
    context = Context(prepared=prepared(config, made.files, Context(), storage))
    loop = Loop(Head(config, context))
    before = {name: each.clone() for name, each in loop.given["body"].state_dict().items()}
    loop.advance(1)
    assert all(torch.equal(each, before[name]) for name, each in loop.given["body"].state_dict().items())
    assert {name.split("/")[1] for name in loop.save().tensors if name.startswith("networks/")} == {"head"}
