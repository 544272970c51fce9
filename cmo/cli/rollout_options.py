"""The options that describe a plan of a rollout, for every command that takes one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from cmo.errors import OracleError
from cmo.policy.gates import GUARDRAILS, Criterion, Measure, Role
from cmo.policy.rollout_documents import plan_from
from cmo.policy.rollout_plan import RolloutPlan, Strategy, canary, exponential, linear, staged, with_approval

_BY_DEFAULT = {criterion.measure: criterion.limit for criterion in GUARDRAILS}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What was given of a plan. The annotations are the options."""

    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            allow_dash=True,
            help="What `cmo rollout plan --json` printed, in place of all other options of a plan.",
        ),
    ] = None
    strategy: Annotated[
        Strategy | None, typer.Option("--strategy", help="How the share grows.", show_default="staged")
    ] = None
    share: Annotated[
        list[float] | None,
        typer.Option("--share", help="staged: the share of each stage in percent; repeat it.", show_default=False),
    ] = None
    start: Annotated[
        float | None, typer.Option("--start", help="The other strategies: the first share.", show_default=False)
    ] = None
    increment: Annotated[
        float | None, typer.Option("--increment", help="linear: what is added each time.", show_default=False)
    ] = None
    factor: Annotated[
        float | None, typer.Option("--factor", help="exponential: what it is multiplied by.", show_default=False)
    ] = None
    hours: Annotated[
        list[float] | None,
        typer.Option(
            "--hours", help="The least time of each stage; staged: repeat it for each but the last.", show_default=False
        ),
    ] = None
    answers: Annotated[
        int | None, typer.Option("--answers", min=1, help="The least answers of each stage.", show_default=False)
    ] = None
    approve: Annotated[
        list[float] | None,
        typer.Option("--approve", help="A share that is left only with approval; repeat it.", show_default=False),
    ] = None
    max_error_rate: Annotated[
        float | None,
        typer.Option(
            "--max-error-rate",
            help="Guardrail: a share of answers.",
            show_default=f"{_BY_DEFAULT[Measure.ERROR_RATE]:g}",
        ),
    ] = None
    min_quality: Annotated[
        float | None,
        typer.Option(
            "--min-quality",
            help="Guardrail: the mean composite, 0 to 1.",
            show_default=f"{_BY_DEFAULT[Measure.QUALITY]:g}",
        ),
    ] = None
    max_seconds: Annotated[
        float | None,
        typer.Option(
            "--max-seconds",
            help="Guardrail: for 95 % of answers.",
            show_default=f"{_BY_DEFAULT[Measure.P95_SECONDS]:g}",
        ),
    ] = None
    min_satisfaction: Annotated[
        float | None,
        typer.Option("--min-satisfaction", help="Signal: the share of thumbs up.", show_default=False),
    ] = None
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", help="Signal: dollars per answer.", show_default=False)
    ] = None

    def made(self) -> RolloutPlan:
        """The plan.

        Raises:
            typer.BadParameter: the options make no sense.
            OracleError: the file cannot be read.
        """
        given = [each.name for each in fields(self) if getattr(self, each.name) not in (None, [])]
        if self.plan is not None:
            if len(given) > 1:
                raise typer.BadParameter("--plan is the whole plan: leave out the other options of a plan.")
            return plan_in(self.plan)
        options = {"shares": self.share, "start": self.start, "increment": self.increment, "factor": self.factor}
        options |= {"hours": self.hours, "answers": self.answers}
        try:
            return _plan(self.strategy or Strategy.STAGED, options, self.approve or (), self._limits)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    @property
    def _limits(self) -> Mapping[Measure, float | None]:
        given = {
            Measure.ERROR_RATE: self.max_error_rate,
            Measure.QUALITY: self.min_quality,
            Measure.P95_SECONDS: self.max_seconds,
            Measure.SATISFACTION: self.min_satisfaction,
            Measure.COST_USD: self.max_cost,
        }
        return {measure: _BY_DEFAULT.get(measure) if limit is None else limit for measure, limit in given.items()}


def takes_plan(command: Callable[..., None]) -> Callable[..., None]:
    """The command with all options of a plan in place of its argument `options`."""
    own = signature(command, eval_str=True).parameters.values()
    of_plan = signature(PlanOptions, eval_str=True).parameters

    @wraps(command)
    def taking(**given: Any) -> None:
        options = PlanOptions(**{name: given.pop(name) for name in of_plan})
        command(options=options, **given)

    shown = [*of_plan.values(), *(parameter for parameter in own if parameter.name != "options")]
    # Typer reads the options from here.
    taking.__signature__ = Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in shown]
    )
    taking.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return taking


def plan_in(file: Path) -> RolloutPlan:
    """The plan in a file, or on stdin for "-".

    Raises:
        OracleError: there is none; says why.
    """
    try:
        return plan_from(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except OSError as error:
        raise OracleError(f"{file}: the plan cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise OracleError(f"{file}: it is no plan of `cmo rollout plan --json`. {error}") from error


_MAKERS: Mapping[Strategy, tuple[Callable[..., RolloutPlan], frozenset[str]]] = {
    Strategy.LINEAR: (linear, frozenset({"start", "increment", "hours", "answers"})),
    Strategy.EXPONENTIAL: (exponential, frozenset({"start", "factor", "hours", "answers"})),
    Strategy.CANARY: (canary, frozenset({"start", "hours", "answers"})),
    Strategy.STAGED: (staged, frozenset({"shares", "hours", "answers"})),
}
"""What makes a plan of each strategy, and from which options."""


def _plan(
    strategy: Strategy,
    options: Mapping[str, Any],
    approve: Sequence[float],
    limits: Mapping[Measure, float | None],
) -> RolloutPlan:
    maker, known = _MAKERS[strategy]
    given = {name: value for name, value in options.items() if value not in (None, [])}
    foreign = sorted(given.keys() - known)
    if foreign:
        raise ValueError(f"--{foreign[0].removesuffix('s')} is not for {strategy}.")
    if "hours" in given and strategy is not Strategy.STAGED:
        given["hours"] = _single(given["hours"])
    return with_approval(replace(maker(**given), criteria=_criteria(limits)), approve)


def _single(hours: list[float]) -> float:
    if len(hours) > 1:
        raise ValueError("All stages last as long: give --hours once. Only staged has durations of their own.")
    return hours[0]


def _criteria(limits: Mapping[Measure, float | None]) -> tuple[Criterion, ...]:
    chosen = [
        Criterion(measure=measure, limit=limit, role=Role.GUARDRAIL if measure in _BY_DEFAULT else Role.SIGNAL)
        for measure, limit in limits.items()
        if limit is not None
    ]
    return (*chosen, *(criterion for criterion in GUARDRAILS if criterion.measure not in limits))
