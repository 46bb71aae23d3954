"""What a search tries before Optuna knows enough: settings that cover the space, then those of a Gaussian process.

Everything here follows from the plan, the number of the trial and the records, and from nothing else: a search that
is resumed, or extended, proposes what it would have proposed anyway.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from statistics import median

import numpy as np

from genlab.sweep.plan import Plan
from genlab.sweep.scope import Settings
from genlab.sweep.space import Rows, Space
from genlab.tracking.records import Records, TrialRecord

STARTUP = 4  # trials after the default that cover the space
CANDIDATES = 16  # settings that each of them is chosen from
RANDOM, BEST, NEAR = 400, 5, 60  # settings that the process chooses from: anywhere, and near each of the best


def startup(plan: Plan, space: Space) -> list[Settings]:
    """Settings of the trials 1 to `STARTUP`, which cover the space; fewer where it has no more.

    A category is one of those that were taken least often. A number falls into an empty one of 2^k equal parts of its
    range, so the first 2^k fall into different ones (a Latin hypercube, McKay et al. 1979, at every power of 2). Of
    new settings drawn so, the one that has least in common with those before is taken. A field that is searched under
    conditions counts only where they hold.

    Trial 0 has the default setting, which is not drawn again. Where a category has more values than `STARTUP`, that of
    trial 0 counts as taken; where it has fewer, all of them come in any case. Trials with values that none before them
    had come first.
    """
    chance = np.random.default_rng([plan.seed, 0])
    chosen = space.encode(plan.default)[None]
    for _ in range(STARTUP):
        drawn = np.empty((CANDIDATES, len(space)))
        for column, choices in enumerate(space.choices):
            taken = chosen[0 if choices > STARTUP else 1 :, column]
            drawn[:, column] = _least_taken(taken[~np.isnan(taken)], choices, chance)
        drawn = space.settle(drawn)
        row = space.new(drawn[_crowded(drawn, chosen[1:], space).argsort(kind="stable")], set(space.keys(chosen)))
        if row is None:
            break
        chosen = np.vstack([chosen, row])
    return [space.decode(row) for row in _in_turn(chosen[:1], chosen[1:], space)]


def _in_turn(tried: Rows, rows: Rows, space: Space) -> list[Rows]:
    """The `rows` in such an order that each has as many new values as there are, and of those with as many least in
    common with the ones before it and those `tried`."""
    order: list[Rows] = []
    while len(rows):
        before = np.vstack([tried, *order])
        new = (~np.isnan(rows) & (rows[:, None] != before[None]).all(1)).sum(1)
        first = np.lexsort([_crowded(rows, before, space), -new])[0]
        order.append(rows[first])
        rows = np.delete(rows, first, axis=0)
    return order


def _crowded(rows: Rows, others: Rows, space: Space) -> np.ndarray:
    """How much rows [n, fields] have in common with others: [n]."""
    return np.square(np.nan_to_num(_alike(rows, others, space)).sum(2)).sum(1)


def _least_taken(taken: np.ndarray, choices: int, chance: np.random.Generator) -> np.ndarray:
    """Places [CANDIDATES] of one field where the fewest of those `taken` lie."""
    parts = choices or 1 << len(taken).bit_length()
    counts = np.bincount((taken if choices else taken * parts).astype(int), minlength=parts)
    drawn = chance.choice(np.flatnonzero(counts == counts.min()), CANDIDATES)
    return drawn if choices else (drawn + chance.random(CANDIDATES)) / parts


def _alike(some: Rows, others: Rows, space: Space) -> np.ndarray:
    """How alike rows [n, fields] and rows [m, fields] are in each field: [n, m, fields], 1 where equal, nan where one
    of the two is not searched."""
    away = np.abs(some[:, None] - others[None])
    return 1 - np.where((space.choices > 0) & ~np.isnan(away), away > 0, away)


def propose(plan: Plan, space: Space, records: Records, number: int) -> Settings | None:
    """Settings of trial `number`: those from which a Gaussian process of the trials so far expects most improvement.
    None where all settings were tried.

    Matérn kernel (ν = 5/2) with a length for each field, fitted by its posterior's maximum; expected improvement (Jones
    et al. 1998) over settings drawn at random and changed ones of the best; trials that still run count as what the
    process expects of them (Ginsbourger et al. 2010).
    """
    chance = np.random.default_rng([plan.seed, number])
    rows, scores, running = _known(plan, space, records)
    tried = set(space.keys(np.vstack([rows, running])))
    if not len(rows):  # many lanes at the beginning: the process knows where it has not been
        rows, scores, running = running, np.zeros(len(running)), running[:0]
    order = np.argsort(scores, kind="stable")
    rows, scores = rows[order], scores[order]
    candidates = space.settle(np.vstack([space.random(RANDOM, chance), *_near(rows[:BEST], space, chance)]))
    process = Process(rows, scores, space)
    if len(running):
        process = process.given(running, process.expects(running)[0])
    mean, deviation = process.expects(candidates)
    best = process.expects(rows)[0].min()
    candidates = candidates[np.argsort(-_improvement(best - mean, deviation), kind="stable")]
    row = space.new(candidates, tried)
    return None if row is None else space.decode(row)


def instead(plan: Plan, space: Space, settings: Settings, tried: Collection[bytes], number: int) -> Settings | None:
    """What trial `number` has where `settings` were proposed: these, or the new ones that are most like them, should
    they be among those `tried`. None where all settings were tried."""
    proposed = space.encode(settings)[None]
    if space.key(settings) not in tried and space.makes_trial(proposed[0]):
        return settings
    chance = np.random.default_rng([plan.seed, number, 1])
    others = space.settle(np.vstack([*_near(proposed, space, chance), space.random(RANDOM, chance)]))
    away = _between(others, proposed, space).sum((1, 2))
    row = space.new(others[away.argsort(kind="stable")], tried)
    return None if row is None else space.decode(row)


def _known(plan: Plan, space: Space, records: Records) -> tuple[Rows, np.ndarray, Rows]:
    """Settings and scores of the trials that ended, and settings of those that run.

    A score is low where a trial is good, 0 on average, 1 its spread. What a pruned trial would have ended with is its
    last objective and what others gained from that epoch on (the median). Bad ones count as equally bad, as do those
    that diverged or failed, since how bad they are says little about where the best lies.
    """
    sign = 1.0 if plan.sweep.mode == "min" else -1.0
    searched = [trial for trial in records.trials.values() if not trial.confirms]
    complete = [trial for trial in searched if trial.ends == "completed"]
    gains: dict[int, float] = {}

    def final(trial: TrialRecord) -> float:
        if trial.objective is None or trial.last is None:
            return math.inf
        if trial.ends == "pruned":
            epoch = trial.last.epoch
            if epoch not in gains:
                gained = [(one.objective or 0.0) - (one.epochs[epoch].objective or 0.0) for one in complete]
                gains[epoch] = median(gained) if gained else 0.0
            return sign * (trial.objective + gains[epoch])
        return sign * trial.objective

    ended = [trial for trial in searched if trial.ends is not None]
    scores = np.array([final(trial) for trial in ended])
    finite = scores[np.isfinite(scores)]
    if len(finite):
        scores = np.minimum(scores, 3 * np.median(finite) - 2 * finite.min())
        scores = (scores - scores.mean()) / (scores.std() or 1.0)
    else:
        scores = np.zeros(len(ended))
    rows = [space.encode(trial.settings) for trial in ended]
    running = [space.encode(trial.settings) for trial in searched if trial.ends is None]
    shape = (-1, len(space))
    return np.reshape(rows, shape), scores, np.reshape(running, shape)


def _near(best: Rows, space: Space, chance: np.random.Generator) -> list[Rows]:
    """Settings [NEAR, fields] like each of these rows, about two fields changed: a number by a little or a lot."""
    found = []
    for row in best:
        drawn = space.random(NEAR, chance)
        steps = chance.normal(size=drawn.shape) * 10 ** chance.uniform(-2, -0.5, (NEAR, 1))
        changed = np.where(space.choices > 0, drawn, np.clip(row + steps, 0, 1))
        changes = chance.random(drawn.shape) < 2 / len(space)
        near = np.where(changes, changed, row)
        found.append(np.where(np.isnan(near), drawn, near))  # conditions that did not hold may hold now
    return found


def _improvement(gap: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """By how much a normal variable is expected to fall below a bound that is `gap` above its mean."""
    z = gap / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    share = np.array([math.erfc(-one / math.sqrt(2)) / 2 for one in z])
    return deviation * (z * share + density)


class Process:
    """A Gaussian process over settings, of mean 0."""

    def __init__(
        self, rows: Rows, scores: np.ndarray, space: Space, fitted: tuple[np.ndarray, float] | None = None
    ) -> None:
        """
        Args:
            rows: [n, fields], n at least 1.
            scores: [n], standardized.
            fitted: logarithms of the fields' lengths [fields] and of the noise's variance; fitted if not given.
        """
        self.rows, self.scores, self.space = rows, scores, space
        between = _between(rows, rows, space)
        self.fitted = fitted or _fit(between, scores)
        self.root, self.variance, _ = _factor(between, scores, *self.fitted)
        self.solved = np.linalg.solve(self.root.T, np.linalg.solve(self.root, scores))

    def given(self, rows: Rows, scores: np.ndarray) -> Process:
        """The same process, having seen these as well."""
        more = Process(np.vstack([self.rows, rows]), np.concatenate([self.scores, scores]), self.space, self.fitted)
        more.variance = self.variance
        return more

    def expects(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [n] at rows [n, fields]."""
        kernel = _kernel(_between(self.rows, rows, self.space), self.fitted[0])
        spread = 1 - np.square(np.linalg.solve(self.root, kernel)).sum(0)
        return kernel.T @ self.solved, np.sqrt(self.variance * np.maximum(spread, 1e-10))


def _between(some: Rows, others: Rows, space: Space) -> np.ndarray:
    """Squared distances [n, m, fields]: 1 between categories, and where one of two is not searched."""
    away = 1 - _alike(some, others, space)
    neither = np.isnan(some)[:, None] & np.isnan(others)[None]
    return np.square(np.where(neither, 0.0, np.nan_to_num(away, nan=1.0)))


def _kernel(between: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Matérn, ν = 5/2, of squared distances [n, m, fields]: [n, m]."""
    away = np.sqrt(5 * (between @ np.exp(-2 * lengths)))
    return (1 + away + away**2 / 3) * np.exp(-away)


def _factor(
    between: np.ndarray, scores: np.ndarray, lengths: np.ndarray, noise: float
) -> tuple[np.ndarray, float, float]:
    """Cholesky root of the kernel with noise [n, n], the variance that suits the scores best, and how well these
    lengths and this noise explain them: the logarithm of their posterior.

    Their priors are log-normal, lengths wider the more fields there are (Hvarfner et al. 2024).
    """
    count, fields = between.shape[1:]
    root = np.linalg.cholesky(_kernel(between, lengths) + math.exp(noise) * np.eye(count))
    variance = max(float(np.square(np.linalg.solve(root, scores)).mean()), 1e-3)
    prior = np.square(lengths - math.log(0.35 * math.sqrt(fields))).sum() + ((noise - math.log(0.01)) / 2) ** 2
    return root, variance, float(-count / 2 * math.log(variance) - np.log(np.diag(root)).sum() - prior / 2)


def _fit(between: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, float]:
    """Lengths and noise, from their priors' middle one after the other up or down while that explains more."""
    fields = between.shape[2]
    best = np.append(np.full(fields, math.log(0.35 * math.sqrt(fields))), math.log(0.01))
    reached = _factor(between, scores, best[:-1], best[-1])[2]
    for step in (1.2, 0.5) if scores.any() else ():
        for i in range(fields + 1):
            for sign in (-step, step):
                tried = best.copy()
                tried[i] += sign
                if (found := _factor(between, scores, tried[:-1], tried[-1])[2]) > reached:
                    best, reached = tried, found
                    break
    return best[:-1], float(best[-1])
