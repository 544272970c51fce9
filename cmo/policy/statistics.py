"""How two groups of people differ, and how sure that is.

Pure. The unit is always the user, since users are what is assigned: a person's questions are first brought down to that
person's figures. Nothing raises an exception for what data can be like (nobody, one user, no variance, NaN): then the
result is an `Undefined`. It refuses to know what a metric means and which group somebody hopes for.

SciPy and statsmodels take seconds and a hundred megabytes to load, so the functions that need them load them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, fsum, inf, isfinite, lgamma, log, nan, sqrt
from statistics import NormalDist

RATIO_ALPHA = 0.001
"""Below this p-value the sample ratio counts as off (Fabijan et al. 2019, doi:10.1145/3292500.3330722)."""

ERROR_ALPHA = 0.01
"""Chance that a rate of errors at its ceiling ever raises an alarm."""

ERROR_ODDS = (1.5, 2.0, 3.0, 5.0, 8.0)
"""The odds of an error, as multiples of those at the ceiling, that `error_evidence` is on the watch for."""

LARGEST = 1e60
"""Beyond this, and nearer to 0 than its inverse, a value is no measurement and its powers cannot be calculated with."""

ROUNDING = 1e-12
"""Standard deviations smaller than this share of the values are what floating point leaves of none."""

_NORMAL = NormalDist()


class Lack(StrEnum):
    """Why a figure does not exist."""

    NO_DATA = "no_data"
    TOO_FEW = "too_few"
    NO_VARIANCE = "no_variance"
    NO_BASE = "no_base"
    NOT_A_NUMBER = "not_a_number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undefined:
    """There is no such figure. `difference` is known all the same where two groups without variance differ."""

    lack: Lack
    difference: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From `low` to `high`, in the units of what it is for; either may be infinite."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether a value lies outside."""
        return not self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many of a group's `users` (0 or more) did something at least once, 0 to `users`."""

    successes: int
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a group of `users` shows: a `value` in the metric's units and the square of its standard error."""

    users: int
    value: float
    squared_error: float

    @property
    def variance(self) -> float:
        """The variance between users, in squared units."""
        return self.squared_error * self.users


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """How far two estimates lie apart; `standard_error` is above 0. `users` are those of both groups together."""

    difference: float
    standard_error: float
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A difference, treatment minus control, with an interval for it and a p-value, 0 to 1, for there being none."""

    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectSize:
    """A difference of means in standard deviations. `hedges_g` takes out what `cohens_d` has too much in few users."""

    cohens_d: float
    hedges_g: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Whether users came to the arms as configured: `expected` users for each, and the p-value, 0 to 1, of the rest."""

    expected: tuple[float, ...]
    p_value: float

    @property
    def is_off(self) -> bool:
        """Whether chance does not explain it, so that something else than the assignment decides who is counted."""
        return self.p_value < RATIO_ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvidence:
    """Evidence that the rate of errors lies above its ceiling.

    `e_value`, 0 or more, is what a fair bet against "at or below the ceiling" has made of 1 by now, `largest` what it
    came to at most. `alarm_at` is the trial, from 1, at which it first reached 1 / alpha; None when it never did.
    """

    trials: int
    errors: int
    e_value: float
    largest: float
    alarm_at: int | None


def share(count: Count) -> Estimate | Undefined:
    """The share, 0 to 1, of users who did something, with the variance of one more success and one more failure.

    Then it is never 0, nor much too small where few have done it or few have not: Agresti A, Caffo B (2000), Am Stat
    54:280-288.
    """
    if count.users < 1:
        return Undefined(lack=Lack.NO_DATA)
    held = (count.successes + 1) / (count.users + 2)
    return Estimate(
        users=count.users, value=count.successes / count.users, squared_error=held * (1 - held) / count.users
    )


def mean(values: Sequence[float]) -> Estimate | Undefined:
    """The mean of one value for each user, in their units, with the variance of the sample (n - 1)."""
    users = len(values)
    if users < 2:
        return Undefined(lack=Lack.TOO_FEW if users else Lack.NO_DATA)
    if not _usable(values):
        return Undefined(lack=Lack.NOT_A_NUMBER)
    return Estimate(users=users, value=fsum(values) / users, squared_error=_variance(values, values) / users)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate | Undefined:
    """The sum of numerators over the sum of denominators, one of each for every user: errors per question, say.

    The squared error is that of the delta method, the variance of (numerator - ratio * denominator) between users over
    n times the squared mean denominator, which holds however much one person's questions are alike: Deng, Knoblich and
    Lu (2018), doi:10.1145/3219819.3219919.
    """
    if len(numerators) < 2:
        return Undefined(lack=Lack.TOO_FEW if numerators else Lack.NO_DATA)
    if not _usable(numerators) or not _usable(denominators):
        return Undefined(lack=Lack.NOT_A_NUMBER)
    total = fsum(denominators)
    if abs(total) * LARGEST < 1:
        return Undefined(lack=Lack.NO_BASE)
    value, users = fsum(numerators) / total, len(numerators)
    residuals = [above - value * below for above, below in zip(numerators, denominators, strict=True)]
    squared = _variance(residuals, numerators) / users / (total / users) ** 2
    return Estimate(users=users, value=value, squared_error=squared)


def contrast(treatment: Estimate, control: Estimate) -> Contrast | Undefined:
    """The difference, treatment minus control, in the metric's units."""
    squared = treatment.squared_error + control.squared_error
    return _contrast(treatment.value - control.value, squared, treatment.users + control.users)


def relative_contrast(treatment: Estimate, control: Estimate) -> Contrast | Undefined:
    """The difference as a share of the control's value: 0.25 is a quarter more.

    Its squared error (v_t + v_c * (m_t / m_c)^2) / m_c^2, with v the squared errors and m the values of treatment and
    control, is that of the delta method (Deng et al. 2018, doi:10.1145/3219819.3219919).
    """
    base = control.value
    if abs(base) * LARGEST < 1:
        return Undefined(lack=Lack.NO_BASE)
    times = treatment.value / base
    squared = (treatment.squared_error + control.squared_error * times * times) / base / base
    return _contrast(times - 1, squared, treatment.users + control.users)


def two_proportions(treatment: Count, control: Count, *, alpha: float = 0.05) -> Comparison | Undefined:
    """The difference of two shares, -1 to 1, with Newcombe's interval and the p-value of the pooled z-test.

    `alpha` is 1 minus the confidence. Newcombe RG (1998), Stat Med 17:873-890, method 10, which keeps its promise for
    few users and at shares of 0 and 1, too. Where all users did the same the p-value is 1.
    """
    from statsmodels.stats.proportion import (  # type: ignore[import-untyped]
        confint_proportions_2indep,
        proportions_ztest,
    )

    if treatment.users < 1 or control.users < 1:
        return Undefined(lack=Lack.NO_DATA)
    successes, users = (treatment.successes, control.successes), (treatment.users, control.users)
    low, high = confint_proportions_2indep(
        successes[0], users[0], successes[1], users[1], method="newcomb", compare="diff", alpha=alpha
    )
    all_alike = sum(successes) in (0, sum(users))
    p_value = 1.0 if all_alike else float(proportions_ztest(successes, users)[1])
    return Comparison(
        difference=treatment.successes / treatment.users - control.successes / control.users,
        interval=Interval(low=float(low), high=float(high)),
        p_value=p_value,
    )


def welch(treatment: Estimate, control: Estimate, *, alpha: float = 0.05) -> Comparison | Undefined:
    """The difference of two means by Welch's t-test, which does not ask for equal variances.

    For estimates made by `mean`. Welch BL (1947), Biometrika 34:28-35, doi:10.1093/biomet/34.1-2.28.
    """
    apart = contrast(treatment, control)
    if isinstance(apart, Undefined):
        return apart
    from scipy.stats import t  # type: ignore[import-untyped]

    whole = treatment.squared_error + control.squared_error
    parts = ((each.squared_error / whole, each.users - 1) for each in (treatment, control) if each.squared_error)
    freedom = 1 / fsum(part * part / users for part, users in parts)
    half = float(t.isf(alpha / 2, freedom)) * apart.standard_error
    p_value = 2 * float(t.sf(abs(apart.difference) / apart.standard_error, freedom))
    return _comparison(apart, half, p_value)


def by_normal(apart: Contrast, *, alpha: float = 0.05) -> Comparison:
    """A difference taken as normally distributed, which sums over many users are: for ratios."""
    p_value = 2 * _NORMAL.cdf(-abs(apart.difference) / apart.standard_error)
    return _comparison(apart, two_sided_z(alpha) * apart.standard_error, p_value)


def always_valid(apart: Contrast, *, horizon: int, alpha: float = 0.05) -> Comparison:
    """A difference with an interval and a p-value that stay true however often and whenever somebody looks.

    An asymptotic confidence sequence: with probability 1 - alpha it never excludes the true difference. It is
    tightest about `horizon`, the planned users (1 or more) of both groups together, which has to be fixed beforehand.
    The price is its width: Waudby-Smith et al. (2024), arXiv:2103.06476, equations 9, 155 and 161.
    """
    r = apart.users * _squared_rho(alpha, horizon)
    half = apart.standard_error * sqrt(2 * (r + 1) * log(sqrt(r + 1) / alpha) / r)
    z = apart.difference / apart.standard_error
    return _comparison(apart, half, min(1.0, sqrt(r + 1) * exp(-r * z * z / (2 * (r + 1)))))


def one_sided_bounds(apart: Contrast, *, horizon: int, alpha: float = 0.05) -> Interval:
    """Between what the difference lies, however often somebody looks, each end for itself at 1 - alpha.

    For guardrails, where only one direction hurts. `horizon` as in `always_valid`; Waudby-Smith et al. (2024),
    arXiv:2103.06476, equation 134.
    """
    r = apart.users * _squared_rho(2 * alpha, horizon)
    half = apart.standard_error * sqrt(2 * (r + 1) * log(1 + sqrt(r + 1) / (2 * alpha)) / r)
    return Interval(low=apart.difference - half, high=apart.difference + half)


def error_evidence(errors: Iterable[bool], *, ceiling: float, alpha: float = ERROR_ALPHA) -> ErrorEvidence:
    """What a sequence of trials, in their order, says against a rate of errors at or below `ceiling`, 0 to 1, open.

    An e-process: the mean over ERROR_ODDS of the likelihood ratio of that rate to the ceiling. As long as the rate is
    at most the ceiling, it ever reaches 1 / alpha with probability alpha at most (Ville's inequality), at every moment
    of an endless watch: Ramdas et al. (2023), doi:10.1214/23-STS894.
    """
    gains = [_log_gains(ceiling, odds) for odds in ERROR_ODDS]
    bets = [0.0] * len(gains)
    trials = failed = 0
    logarithm = largest = 0.0
    alarm_at = None
    for trials, error in enumerate(errors, start=1):
        failed += error
        bets = [bet + gain[error] for bet, gain in zip(bets, gains, strict=True)]
        top = max(bets)
        logarithm = top + log(fsum(exp(bet - top) for bet in bets) / len(bets))
        largest = max(largest, logarithm)
        if alarm_at is None and logarithm >= -log(alpha):
            alarm_at = trials
    return ErrorEvidence(
        trials=trials, errors=failed, e_value=_exp(logarithm), largest=_exp(largest), alarm_at=alarm_at
    )


def effect_size(treatment: Estimate, control: Estimate) -> EffectSize | Undefined:
    """The difference of two means, made by `mean`, in pooled standard deviations.

    Cohen J (1988), Statistical Power Analysis, chapter 2; with the exact correction of Hedges LV (1981), J Educ Stat
    6:107-128, doi:10.3102/10769986006002107. By convention 0.2 is small, 0.5 medium, 0.8 large.
    """
    freedom = treatment.users + control.users - 2
    if freedom < 1:
        return Undefined(lack=Lack.TOO_FEW)
    pooled = (treatment.variance * (treatment.users - 1) + control.variance * (control.users - 1)) / freedom
    apart = treatment.value - control.value
    if not isfinite(pooled) or not isfinite(apart):
        return Undefined(lack=Lack.NOT_A_NUMBER)
    if pooled == 0:
        return Undefined(lack=Lack.NO_VARIANCE, difference=apart)
    d = apart / sqrt(pooled)
    correction = exp(lgamma(freedom / 2) - lgamma((freedom - 1) / 2)) / sqrt(freedom / 2) if freedom > 1 else nan
    return EffectSize(cohens_d=d, hedges_g=d * correction)


def sample_ratio(users: Sequence[int], weights: Sequence[float]) -> SampleRatio | Undefined:
    """Whether the users of each arm are as many as the configured weights (0 or more, in any unit) let expect.

    The chi-square test against the weights, never against the shares seen. An arm of weight 0 that has users is off.
    """
    total, whole = sum(users), fsum(weights)
    if not total:
        return Undefined(lack=Lack.NO_DATA)
    expected = tuple(total * weight / whole for weight in weights)
    if any(seen and not wanted for seen, wanted in zip(users, expected, strict=True)):
        return SampleRatio(expected=expected, p_value=0.0)
    from scipy.stats import chisquare

    pairs = [(seen, wanted) for seen, wanted in zip(users, expected, strict=True) if wanted]
    p_value = float(chisquare(*zip(*pairs, strict=True)).pvalue) if len(pairs) > 1 else 1.0
    return SampleRatio(expected=expected, p_value=p_value)


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """The p-values of several metrics, adjusted so that one by chance among all of them is as rare as alpha.

    In their order; what has no p-value (None, NaN) keeps none and does not count. Holm S (1979), Scand J Stat 6:65-70.
    """
    known = [(p, place) for place, p in enumerate(p_values) if p is not None and isfinite(p)]
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(sorted(known)):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return tuple(adjusted)


def two_sided_z(alpha: float) -> float:
    """The standard normal quantile of a two-sided test: 1.96 for 0.05."""
    return _NORMAL.inv_cdf(1 - alpha / 2)


def _usable(values: Sequence[float]) -> bool:
    return all(abs(value) <= LARGEST for value in values)


def _variance(values: Sequence[float], scale: Sequence[float]) -> float:
    """The variance of the sample (n - 1); 0 when it is no more than rounding leaves of figures as large as `scale`."""
    middle = fsum(values) / len(values)
    apart = [value - middle for value in values]
    variance = fsum(each * each for each in apart) / (len(values) - 1)
    return variance if variance > (ROUNDING * max(map(abs, scale))) ** 2 else 0.0


def _contrast(apart: float, squared_error: float, users: int) -> Contrast | Undefined:
    if not isfinite(apart) or not isfinite(squared_error):
        return Undefined(lack=Lack.NOT_A_NUMBER)
    if squared_error <= 0:
        return Undefined(lack=Lack.NO_VARIANCE, difference=apart)
    return Contrast(difference=apart, standard_error=sqrt(squared_error), users=users)


def _comparison(apart: Contrast, half: float, p_value: float) -> Comparison:
    interval = Interval(low=apart.difference - half, high=apart.difference + half)
    return Comparison(difference=apart.difference, interval=interval, p_value=p_value)


def _squared_rho(alpha: float, horizon: int) -> float:
    """What makes a confidence sequence tightest at its horizon (arXiv:2103.06476, equation 161)."""
    return (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / horizon


def _log_gains(ceiling: float, odds: float) -> tuple[float, float]:
    """What a bet on a higher rate makes of a success and of an error, as logarithms."""
    higher = odds * ceiling / (1 - ceiling + odds * ceiling)
    return log((1 - higher) / (1 - ceiling)), log(higher / ceiling)


def _exp(logarithm: float) -> float:
    return exp(logarithm) if logarithm < 700 else inf
