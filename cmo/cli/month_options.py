"""What the options of `cmo simulate month` say about engines, read and checked.

Days count from 1: day 1.5 begins twelve hours after the beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isfinite

import typer

from cmo.cli.simulated_engines import Behaviour, Change, Outage
from cmo.cli.simulated_month import ENGINES, HOUR_SECONDS, Stop
from cmo.cli.simulated_people import DAY_SECONDS

ALLOWED: Mapping[str, tuple[float, float]] = {
    "error": (0.0, 1.0),
    "quality": (0.01, 0.99),
    "p95": (0.01, 3600.0),
    "cost": (0.0, 100.0),
}
"""The figures of an engine with the least and the largest of each."""


def behaviours(given: Iterable[str]) -> dict[str, Behaviour]:
    """How the engines do, by NAME:FIGURE=NUMBER,...; what is not given is as in Behaviour.

    Raises:
        typer.BadParameter: one cannot be read.
    """
    found = dict.fromkeys(ENGINES, Behaviour())
    for text in given:
        name, figures = _parts(text, 2, "NAME:FIGURE=NUMBER,...")
        engine, read = _engine(name), _figures(figures)
        found[engine] = replace(found[engine], **read)
    return found


def outages(given: Iterable[str]) -> tuple[Outage, ...]:
    """When engines are down, by NAME:DAY:HOURS.

    Raises:
        typer.BadParameter: one cannot be read.
    """
    return tuple(Outage(engine=engine, start=start, end=end) for engine, start, end in map(_span, given))


def stops(given: Iterable[str]) -> tuple[Stop, ...]:
    """When engines are stopped in an emergency, by NAME:DAY:HOURS.

    Raises:
        typer.BadParameter: one cannot be read.
    """
    return tuple(Stop(engine=engine, start=start, end=end) for engine, start, end in map(_span, given))


def changes(given: Iterable[str]) -> tuple[Change, ...]:
    """From when on engines do otherwise, by NAME:DAY:FIGURE=NUMBER,...

    Raises:
        typer.BadParameter: one cannot be read.
    """
    found = []
    for text in given:
        name, day, figures = _parts(text, 3, "NAME:DAY:FIGURE=NUMBER,...")
        found.append(Change(engine=_engine(name), start=_start(day), figures=_figures(figures)))
    return tuple(found)


def _span(text: str) -> tuple[str, float, float]:
    name, day, hours = _parts(text, 3, "NAME:DAY:HOURS")
    start = _start(day)
    return _engine(name), start, start + HOUR_SECONDS * _number("HOURS", hours, 0.0, 24 * 366)


def _parts(text: str, count: int, form: str) -> list[str]:
    parts = text.split(":")
    if len(parts) != count:
        raise typer.BadParameter(f'"{text}" cannot be read. Allowed: {form}')
    return parts


def _engine(name: str) -> str:
    if name not in ENGINES:
        raise typer.BadParameter(f'There is no engine "{name}". Allowed: {", ".join(ENGINES)}.')
    return name


def _start(day: str) -> float:
    return DAY_SECONDS * (_number("DAY", day, 1.0, 366.0) - 1)


def _figures(text: str) -> dict[str, float]:
    figures = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name not in ALLOWED:
            raise typer.BadParameter(f'An engine has no figure "{name}". Allowed: {", ".join(ALLOWED)}.')
        figures[name] = _number(name, number, *ALLOWED[name])
    return figures


def _number(name: str, text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not (isfinite(number) and least <= number <= most):
        raise typer.BadParameter(f'{name} is "{text}". Allowed: {least:g} to {most:g}.')
    return number
