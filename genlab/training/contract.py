"""What a task's functions must return: checked in a replica's first step, and in each of its reports."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genlab import grids
from genlab.errors import GenlabError
from genlab.tasks import Inputs, Phase, PhasedTask, Pictures, Replica, Report, State
from genlab.tasks.returned import described, method, where
from genlab.tracking.points import legal

LONGEST = 200  # characters of a metric's name: some are added before and behind, and MLflow takes 250
SHOWN = 3  # parameters that a message names


def check_sample(task: PhasedTask, name: str, count: int, drawn: Any) -> None:
    """Refuse samples that the ranks cannot share.

    Args:
        count: how many samples of `name` the task was asked for.
        drawn: what it returned.

    Raises:
        GenlabError: no tensor, another number of rows, or another device.
    """
    asked = f"{method(task, 'sample')} returned, for {count} of {name!r},"
    if not isinstance(drawn, Tensor) or drawn.ndim == 0 or len(drawn) != count:
        raise GenlabError(f"{asked} {described(drawn)}: it must return a tensor [{count}, ...], a row a sample")
    if drawn.device.type != torch.device(task.context.device).type:
        raise GenlabError(f"{asked} a tensor on {drawn.device}: make it with device=generator.device")


def check_transformed(phase: Phase, returned: Any) -> None:
    """
    Raises:
        GenlabError: the phase's transform returned no inputs.
    """
    if not isinstance(returned, Inputs):
        raise GenlabError(
            f"the transform of the phase {phase.name} ({where(phase.transform)}) returned {described(returned)}: it "
            "must return inputs, as in `return inputs.replace(images=changed)`"
        )


def check_computed(phase: Phase, returned: Any) -> None:
    """
    Raises:
        GenlabError: `compute()` of the phase's `Reuse` returned no tensors by name.
    """
    assert phase.reuse is not None
    compute = f"compute() of the Reuse of the phase {phase.name} ({where(phase.reuse.compute)}) returned"
    wanted = 'it must return tensors by name, as in `return {"fake": fake}`'
    if not isinstance(returned, Mapping):
        raise GenlabError(f"{compute} {described(returned)}: {wanted}")
    for name, value in returned.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise GenlabError(f"{compute} {described(value)} as {name!r}: {wanted}")


def check_loss(phase: Phase, returned: Any) -> None:
    """Refuse what a loss may not return.

    Raises:
        GenlabError: not a loss and its scores, a loss that is no number with a gradient, a score that is no 0-d tensor
            on the loss's device, or a name that MLflow would refuse.
    """
    the_loss = f"the loss of the phase {phase.name} ({where(phase.loss)})"
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise GenlabError(
            f"{the_loss} returned {described(returned)}: it must return the loss and its scores by name, as in "
            "`return loss, {}`"
        )
    loss, scores = returned
    if not isinstance(loss, Tensor) or loss.ndim:
        advice = ", the mean over the batch: say .mean()" if isinstance(loss, Tensor) else ""
        raise GenlabError(f"{the_loss} returned {described(loss)} as the loss: it must be a 0-d tensor{advice}")
    if not loss.requires_grad:
        raise GenlabError(
            f"{the_loss} returned a loss without a gradient: it does not depend on {' or '.join(phase.updates)}, or "
            "detach(), argmax(), no_grad() or a number taken out of a tensor cut it off"
        )
    if not isinstance(scores, Mapping):
        raise GenlabError(
            f"{the_loss} returned {described(scores)} as the scores: they must be 0-d tensors by name, {{}} for none"
        )
    _check_name(f"loss/{phase.name}", f"the phase {phase.name}")
    for name, score in scores.items():
        _check_name(name, the_loss)
        if not isinstance(score, Tensor):
            raise GenlabError(
                f"{the_loss} returned {described(score)} as the score {name!r}: it must be a 0-d tensor, which stays "
                "on the device (no .item(), no float())"
            )
        if score.ndim:
            raise GenlabError(
                f"{the_loss} returned {described(score)} as the score {name!r}: it must be a 0-d tensor, say .mean()"
            )
        if score.device != loss.device:
            raise GenlabError(
                f"{the_loss} returned the score {name!r} on {score.device}, while the loss is on {loss.device}: make "
                "it there, as in loss.new_tensor(0.5)"
            )


def check_gradients(
    phase: Phase, networks: Mapping[str, nn.Module], parameters: Mapping[str, Sequence[nn.Parameter]]
) -> None:
    """Refuse a phase whose loss left out something that it is to train.

    Args:
        networks: by name, as modules, after the loss's backward.
        parameters: of each network those that are trained.

    Raises:
        GenlabError: naming the network, or the parameters, that got no gradient.
    """
    the_loss = f"its loss ({where(phase.loss)})"
    for name in phase.updates:
        without = {id(parameter) for parameter in parameters[name] if parameter.grad is None}
        if len(without) == len(parameters[name]):
            raise GenlabError(
                f"the phase {phase.name} updates the network {name}, but {the_loss} gives it no gradient: call "
                f"networks[{name!r}] in the loss and do not detach what it returns, take it out of the phase's "
                "updates, or return it from given() if nothing is to train it"
            )
        if without:
            every = [key for key, parameter in networks[name].named_parameters() if id(parameter) in without]
            more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
            raise GenlabError(
                f"the phase {phase.name} updates the network {name}, but {the_loss} gives no gradient to its "
                f"{', '.join(every[:SHOWN])}{more}: let the loss depend on them, freeze them where networks() makes "
                "them, by requires_grad_(False), or take them out (on several workers DDP would refuse them, too)"
            )


def report(returned: Any, owner: Any, called: str) -> Report:
    """A report as the records take it: with metrics that are floats and labels that are texts.

    Args:
        returned: what the method `called` of a task or replica returned. Its metrics may be 0-d tensors, numpy's
            numbers or bools.

    Raises:
        GenlabError: no report, a metric that is no number or has a name that MLflow would refuse, images or curves of
            another type or shape, or labels that do not fit their images. The message names it.
    """
    came = method(owner, called)
    if not isinstance(returned, Report):
        raise GenlabError(
            f"{came} returned {described(returned)}: it must return a Report, as in "
            '`return Report({"accuracy": accuracy})`'
        )
    for what in ("metrics", "images", "steps"):
        if not isinstance(getattr(returned, what), Mapping):
            raise GenlabError(
                f"{came} reports {described(getattr(returned, what))} as {what}: they must be given by name, as in "
                f'Report({what}={{"name": ...}})'
            )
    metrics: dict[str, float] = {}
    for name, value in returned.metrics.items():
        _check_name(name, came)
        if (number := _number(value)) is None:
            mean = ", say .mean()" if getattr(value, "ndim", 0) else ""
            raise GenlabError(f"{came} reports {described(value)} as the metric {name!r}: it must be a number{mean}")
        metrics[name] = number
    images = {key: _images(key, value, came) for key, value in returned.images.items()}
    for name, curve in returned.steps.items():
        if not isinstance(curve, np.ndarray) or curve.ndim != 1:
            raise GenlabError(
                f"{came} reports {described(curve)} as the steps {name!r}: they must be a numpy array [steps]"
            )
    return dataclasses.replace(returned, metrics=metrics, images=images, diverged=bool(returned.diverged))


def state(returned: Any, replica: Replica) -> State:
    """
    Raises:
        GenlabError: a replica's `save()` returned no state.
    """
    if not isinstance(returned, State):
        raise GenlabError(
            f"{method(replica, 'save')} returned {described(returned)}: it must return State(tensors, scalars)"
        )
    return returned


def _images(key: Any, reported: Any, came: str) -> np.ndarray | Pictures:
    """An array, or `Pictures` whose labels are texts."""
    if not isinstance(key, str):
        raise GenlabError(f"{came} reports images by {described(key)}: the key must be a text")
    if not isinstance(reported, Pictures):
        _check_images(key, reported, came)
        return reported
    _check_images(key, reported.images, came)
    made = Pictures(reported.images, *(_texts(getattr(reported, of), of, key, came) for of in ("rows", "columns")))
    try:
        grids.check_labels(made.images, labels(made))
    except ValueError as error:
        raise GenlabError(f"{came} reports images {key!r} with {error}") from None
    return made


def labels(pictures: Pictures) -> grids.Labels:
    """The labels of pictures that `report` returned."""
    return grids.Labels(tuple(map(str, pictures.rows)), tuple(map(str, pictures.columns)))


def _texts(given: Any, of: str, key: str, came: str) -> tuple[str, ...]:
    """Labels as they are drawn: texts as they are, numbers with four digits."""
    wanted = f'they must be texts or numbers, one for each, as in {of}=("first", "second")'
    in_order = getattr(given, "ndim", 0) == 1 or (isinstance(given, Sequence) and not isinstance(given, (str, bytes)))
    if not in_order:
        raise GenlabError(f"{came} reports images {key!r} with {described(given)} as {of}: {wanted}")
    texts = []
    for label in given:
        number = None if isinstance(label, str) else _number(label)
        if not isinstance(label, str) and number is None:
            raise GenlabError(f"{came} reports images {key!r} with {described(label)} among the {of}: {wanted}")
        texts.append(label if number is None else f"{number:.4g}")
    return tuple(texts)


def _check_images(key: str, images: Any, came: str) -> None:
    if isinstance(images, np.ndarray) and grids.can_be_shown(images):
        return
    if isinstance(images, np.ndarray) and grids.are_images(images):
        height, width = grids.picture_size(images)
        raise GenlabError(
            f"{came} reports {described(images)} as images {key!r}, a picture of {width} x {height} pixels: the most "
            f"are {grids.MOST:,} pixels, and {grids.LONGEST:,} an edge. Report fewer or smaller images"
        )
    advice = "to_uint8(images) of genlab.tasks.images makes that of a tensor [..., C, H, W] in [0, 1]"
    if type(images).__name__ == "Figure":
        advice = "from_figure(figure) of genlab.tasks.images makes that of it"
    raise GenlabError(
        f"{came} reports {described(images)} as images {key!r}, but a report takes uint8 arrays [N, H, W, C], "
        f"[rows, columns, H, W, C] or [H, W, C] with 1, 3 or 4 channels, or Pictures of such: {advice}"
    )


def _number(value: Any) -> float | None:
    """None for what is no number."""
    if isinstance(value, Tensor):
        return None if value.ndim or value.is_complex() else float(value.detach())
    if isinstance(value, (np.ndarray, np.generic)):
        return float(value) if value.ndim == 0 and value.dtype.kind in "biuf" else None
    return float(value) if isinstance(value, numbers.Real) else None


def _check_name(name: Any, came: str) -> None:
    if not isinstance(name, str) or not name:
        raise GenlabError(f"{came} reports something by {described(name)}: its name must be a text")
    if legal(name) != name or len(name) > LONGEST:
        raise GenlabError(
            f"{came} reports {name!r}: MLflow takes ASCII letters, digits, _ - . : / and spaces in a name, no empty "
            f"part, {LONGEST} characters at most: call it {legal(name)[:LONGEST]!r}"
        )
