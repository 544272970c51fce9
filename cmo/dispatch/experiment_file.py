"""Reads what an experiment is, a TOML file, and what was observed in it, JSON lines.

Nothing is guessed: an unknown key or a value of the wrong type is told with its place. What the keys mean is told in
policy/experiment.py and policy/measuring.py.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from cmo.errors import OracleError
from cmo.policy.experiment import Arm, Experiment, Guardrail
from cmo.policy.measuring import Better, Kind, Metric, Observation
from cmo.policy.planning import MAX_LOOKS

LARGEST_WEIGHT = 1e6
"""Weights are shares in any unit, percent as well as millionths."""

LATEST_START = datetime(9000, 1, 1, tzinfo=UTC)
"""Far enough from the last day there is for any experiment to end before it."""

MOST_USERS = 10**9
"""More than this is a mistake in writing."""


def read_definition(path: Path) -> Experiment:
    """The experiment that a file defines.

    Raises:
        OracleError: it cannot be read, or something in it is wrong; names the key and what is allowed.
    """
    text = read_text(path)
    try:
        return experiment_in(text)
    except OracleError as error:
        raise OracleError(f"{path}: {error}") from error


def read_text(path: Path) -> str:
    """The text of a definition.

    Raises:
        OracleError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OracleError(f"{path}: the definition cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise OracleError(f"{path}: the definition cannot be read. Allowed: a TOML file in UTF-8.") from error


def experiment_in(text: str, *, start: datetime | None = None) -> Experiment:
    """The experiment that a definition's text defines. With `start` it began then, whatever the text says.

    Raises:
        OracleError: something in it is wrong; names the key and what is allowed.
    """
    try:
        return _Definition.model_validate(_table_in(text)).experiment(start)
    except ValidationError as error:
        raise OracleError(_first_problem(error)) from error


def read_observations(lines: Iterable[bytes]) -> Iterator[Observation]:
    """The observations of JSON lines {"user", "arm", "metrics"}, with "at" and "weights" if they have them.

    Empty lines are passed over.

    Raises:
        OracleError: a line is no observation; names the line, the key and what is allowed.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield _Line.model_validate_json(line.removeprefix(b"\xef\xbb\xbf")).observation()
        except ValidationError as error:
            raise OracleError(f"Line {number} of the observations: {_first_problem(error)}") from error


def _table_in(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OracleError(f"the definition is no TOML: {error}.") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, a number of too many digits
        raise OracleError("the definition is no TOML that can be read.") from error


def _in_utc(given: object) -> object:
    """A day is its first moment; a time without a zone is in UTC."""
    if isinstance(given, date) and not isinstance(given, datetime):
        given = datetime.combine(given, time())
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError as error:
            raise ValueError("should be a date or time, such as 2026-03-01T09:30:00Z") from error
    return given.replace(tzinfo=UTC) if isinstance(given, datetime) and given.tzinfo is None else given


_Moment = Annotated[datetime, BeforeValidator(_in_utc)]
_Name = Annotated[str, Field(min_length=1, max_length=80)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Arm(_Table):
    name: _Name
    weight: Annotated[float, Field(gt=0, le=LARGEST_WEIGHT)]
    overrides: dict[str, Any] = {}


class _Metric(_Table):
    name: _Name
    kind: Kind
    better: Better = Better.HIGHER
    missing: _Finite | None = None

    @model_validator(mode="after")
    def _no_stand_in_for_a_no(self) -> Self:
        if self.kind is Kind.PROPORTION and self.missing is not None:
            raise ValueError('"missing" is not for a proportion, where it always counts as no')
        return self

    def metric(self) -> Metric:
        return Metric(name=self.name, kind=self.kind, better=self.better, missing=self.missing)


class _Guardrail(_Metric):
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    ceiling: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.margin is None) is (self.ceiling is None):
            raise ValueError('give either "margin" or "ceiling"')
        if self.ceiling is not None and (self.kind, self.better) != (Kind.PROPORTION, Better.LOWER):
            raise ValueError('"ceiling" is for kind = "proportion" with better = "lower"')
        return self

    def guardrail(self) -> Guardrail:
        return Guardrail(metric=self.metric(), margin=self.margin, ceiling=self.ceiling)


class _Definition(_Table):
    name: _Name
    hypothesis: Annotated[str, Field(min_length=1)]
    start: _Moment | None = None
    duration_days: Annotated[float, Field(gt=0, le=3650)]
    planned_users_per_arm: Annotated[int, Field(ge=2, le=MOST_USERS)]
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    looks: Annotated[int, Field(ge=1, le=MAX_LOOKS)] = 5
    share_percent: Annotated[float, Field(gt=0, le=100)] = 100.0
    arms: Annotated[tuple[_Arm, ...], Field(min_length=2)]
    primary: _Metric
    secondaries: tuple[_Metric, ...] = ()
    guardrails: tuple[_Guardrail, ...] = ()

    @model_validator(mode="after")
    def _arms_differ(self) -> Self:
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("two arms have the same name")
        return self

    def experiment(self, start: datetime | None) -> Experiment:
        began = start or self.start
        if began is None:
            raise OracleError('"start": missing. Allowed: a date or time, such as 2026-03-01T09:30:00Z.')
        if began > LATEST_START:
            raise OracleError(f'"start": too late. Allowed: a date or time before {LATEST_START:%Y-%m-%d}.')
        return Experiment(
            name=self.name,
            hypothesis=self.hypothesis,
            arms=tuple(Arm(name=arm.name, weight=arm.weight, overrides=arm.overrides) for arm in self.arms),
            primary=self.primary.metric(),
            secondaries=tuple(metric.metric() for metric in self.secondaries),
            guardrails=tuple(rail.guardrail() for rail in self.guardrails),
            start=began,
            duration=timedelta(days=self.duration_days),
            planned_users=self.planned_users_per_arm,
            power=self.power,
            alpha=self.alpha,
            looks=self.looks,
            share_percent=self.share_percent,
        )


class _Line(_Table):
    user: Annotated[str, Field(min_length=1)]
    arm: _Name
    metrics: dict[str, float | None] = {}
    at: _Moment | None = None
    weights: dict[str, Annotated[float, Field(ge=0, le=LARGEST_WEIGHT)]] | None = None

    def observation(self) -> Observation:
        return Observation(user=self.user, arm=self.arm, metrics=self.metrics, at=self.at, weights=self.weights)


def _first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, with its place, and without what stands there: it may be about a person."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f'"{place}": {message}.' if place else f"{message}."
