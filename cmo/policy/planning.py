"""How many people an experiment takes, and when its data may be looked at.

Pure. Refuses to know what is measured: a share or a mean with its standard deviation is all it asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, isfinite, sqrt
from statistics import NormalDist

from cmo.policy.statistics import two_sided_z

MAX_LOOKS = 20
"""Looks that can be planned; `always_valid` intervals are for watching more often than that."""

ROOT_STEPS = 36
"""Halvings of an interval of at most 12 that leave 2e-10 of it."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A planned look at the data, `number` counting from 1, at a `share` (0 to 1] of the planned users.

    `boundary` is the z-value that decides there; `alpha` is the same as a two-sided p-value.
    """

    number: int
    share: float
    boundary: float
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareMove:
    """A share of people that may move from `baseline` to `target`, both between 0 and 1."""

    baseline: float
    target: float

    def users(self, *, power: float, alpha: float) -> int:
        """How many each group needs."""
        return users_for_proportions(self.baseline, self.target, power=power, alpha=alpha)

    def power(self, *, users: int, alpha: float) -> float:
        """The chance to notice it, 0 to 1."""
        return power_for_proportions(self.baseline, self.target, users=users, alpha=alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanMove:
    """A mean that may move by `difference`; `sd` is the standard deviation between users, in the same units."""

    difference: float
    sd: float

    def users(self, *, power: float, alpha: float) -> int:
        """How many each group needs."""
        return users_for_means(self.difference, self.sd, power=power, alpha=alpha)

    def power(self, *, users: int, alpha: float) -> float:
        """The chance to notice it, 0 to 1."""
        return power_for_means(self.difference, self.sd, users=users, alpha=alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePlan:
    """Users that each of `arms` arms needs: `users` for one look at the end, `users_with_looks` for all `looks`.

    `alpha_each` is the part of alpha that each treatment has (Bonferroni).
    """

    move: ShareMove | MeanMove
    power: float
    alpha: float
    alpha_each: float
    arms: int
    users: int
    users_with_looks: int
    looks: tuple[Look, ...]


def size_plan(
    move: ShareMove | MeanMove, *, power: float = 0.8, alpha: float = 0.05, looks: int = 5, arms: int = 2
) -> SizePlan:
    """How many users it takes to notice a move, with one look and with several.

    Raises:
        ValueError: there is no such move.
        OverflowError: it takes more users than can be counted.
    """
    each = alpha / (arms - 1)
    users = move.users(power=power, alpha=each)
    return SizePlan(
        move=move,
        power=power,
        alpha=alpha,
        alpha_each=each,
        arms=arms,
        users=users,
        users_with_looks=ceil(users * looks_factor(looks, power=power, alpha=each)),
        looks=planned_looks(looks, each),
    )


@lru_cache(maxsize=64)
def planned_looks(looks: int, alpha: float = 0.05) -> tuple[Look, ...]:
    """O'Brien and Fleming's looks, evenly spaced in users, that together find a difference by chance in alpha of cases.

    Early ones ask for very much, the last one for hardly more than a single look would. O'Brien PC, Fleming TR (1979),
    Biometrics 35:549-556, doi:10.2307/2530245; the boundary is C * sqrt(looks / k) with C as in table 2.3 of Jennison
    and Turnbull (2000), Group Sequential Methods: 2.040 for five looks at 0.05.
    """
    constant = _root(lambda c: _inside(c, looks) - (1 - alpha), 0.5, 8.0)
    boundaries = [constant * sqrt(looks / number) for number in range(1, looks + 1)]
    return tuple(
        Look(number=number, share=number / looks, boundary=boundary, alpha=2 * _NORMAL.cdf(-boundary))
        for number, boundary in enumerate(boundaries, start=1)
    )


def looks_factor(looks: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """How many times the users of a single look it takes for the same power with this many: 1.028 for five.

    Jennison and Turnbull (2000), table 2.4.
    """
    last = planned_looks(looks, alpha)[-1].boundary
    drift = _root(lambda drift: (1 - power) - _inside(last, looks, drift), 0.0, 12.0)
    return max(1.0, (drift / (two_sided_z(alpha) + _NORMAL.inv_cdf(power))) ** 2)


def users_for_proportions(baseline: float, target: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Users in each of two groups with which a share that moves from `baseline` to `target`, both 0 to 1, is noticed.

    For the two-sided z-test: Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, section 4.2,
    without correction for continuity.

    Raises:
        ValueError: a share is not between 0 and 1, or they are the same.
    """
    _check_shares(baseline, target)
    middle = (baseline + target) / 2
    pooled = two_sided_z(alpha) * sqrt(2 * middle * (1 - middle))
    own = _NORMAL.inv_cdf(power) * sqrt(baseline * (1 - baseline) + target * (1 - target))
    return ceil(((pooled + own) / (target - baseline)) ** 2)


def power_for_proportions(baseline: float, target: float, *, users: int, alpha: float = 0.05) -> float:
    """The chance, 0 to 1, to notice that move with so many users in each group; what `users_for_proportions` inverts.

    Raises:
        ValueError: a share is not between 0 and 1, or they are the same.
    """
    _check_shares(baseline, target)
    middle = (baseline + target) / 2
    pooled = two_sided_z(alpha) * sqrt(2 * middle * (1 - middle))
    own = sqrt(baseline * (1 - baseline) + target * (1 - target))
    return _NORMAL.cdf((abs(target - baseline) * sqrt(users) - pooled) / own)


def users_for_means(difference: float, sd: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Users in each of two groups with which a difference of means is noticed; `sd` is that between users, above 0.

    For the two-sided t-test, by the normal distribution with the correction of Guenther WC (1981), Am Stat 35:243-244,
    which is right to within a user.

    Raises:
        ValueError: there is no difference, or no variance.
    """
    effect = _effect(difference, sd)
    z = two_sided_z(alpha)
    return max(2, ceil(2 * ((z + _NORMAL.inv_cdf(power)) / effect) ** 2 + z * z / 4))


def power_for_means(difference: float, sd: float, *, users: int, alpha: float = 0.05) -> float:
    """The chance, 0 to 1, to notice that difference with so many users in each group; inverts `users_for_means`.

    Raises:
        ValueError: there is no difference, or no variance.
    """
    effect = _effect(difference, sd)
    z = two_sided_z(alpha)
    return _NORMAL.cdf(effect * sqrt(max(0.0, users - z * z / 4) / 2) - z)


def detectable_difference(variance: float, *, users: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The difference that so many users in each group would show with this power, in the metric's units.

    `variance` is that between users; the formula of `users_for_means` without its small correction.
    """
    return (two_sided_z(alpha) + _NORMAL.inv_cdf(power)) * sqrt(2 * variance / users)


def _inside(constant: float, looks: int, drift: float = 0.0) -> float:
    """The chance that Brownian motion with this drift lies within -constant to constant at all of its `looks`.

    On that scale O'Brien and Fleming's boundary is the same at each look. By the recursion of Armitage, McPherson and
    Rowe (1969), doi:10.2307/2343787, with Gauss-Legendre quadrature.
    """
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(128)
    places, widths = constant * nodes, constant * weights
    scale = sqrt(looks / 2)
    step = np.exp(-((scale * (places[:, None] - places - drift / looks)) ** 2)) * scale / sqrt(np.pi)
    density = np.exp(-((scale * (places - drift / looks)) ** 2)) * scale / sqrt(np.pi)
    for _ in range(looks - 1):
        density = step @ (widths * density)
    return float(widths @ density)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function passes 0, to 1e-9 or better, by halving."""
    for _ in range(ROOT_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _check_shares(baseline: float, target: float) -> None:
    if not (0 < baseline < 1 and 0 < target < 1) or baseline == target:
        raise ValueError(f"{baseline} and {target} are not two different shares between 0 and 1")


def _effect(difference: float, sd: float) -> float:
    if not (isfinite(difference) and isfinite(sd)) or difference == 0 or sd <= 0:
        raise ValueError(f"a difference of {difference} with a standard deviation of {sd} cannot be planned for")
    return abs(difference) / sd
