"""The plots of an experiment's page, as SVG to stand inside HTML.

Matplotlib takes a second to load, which happens with the first plot, and its settings are changed only while a plot is
drawn: one thread at a time. Colours are CSS variables (`--ink`, `--arm-0` to `--arm-3`), so that the page can be light
or dark; lines, markers and names tell the arms apart, too. Text stays text. Refuses to know what a plot says: captions
are the page's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from cmo.exports.experiment_timeline import Moment, Timeline
from cmo.exports.references import on_one_line
from cmo.policy.experiment import ArmUsers, Basis, LookTaken
from cmo.policy.measuring import Kind, Metric
from cmo.policy.statistics import Comparison, Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

WIDTH = 5.4
"""Inches; with text of 11 points it can still be read when a phone shows it 350 pixels wide."""

BINS = 20

LONGEST_NAME = 22
"""Characters of a name in a plot; tables have the whole of it."""

_INK = "#222222"
_ARMS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Of the palette of Okabe and Ito (2008), which people who see fewer colours can tell apart."""

_VARIABLES = {_INK: "var(--ink)"} | {colour: f"var(--arm-{number})" for number, colour in enumerate(_ARMS)}
_LINES = ("-", "--", "-.", ":")

_SETTINGS: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",  # text, not outlines
    "svg.hashsalt": "cmo",  # the same names of parts each time
    "text.parse_math": False,  # a name with dollars is no formula
    "font.size": 11,
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "legend.frameon": False,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmShare:
    """An arm's share of people, 0 to 1, with its interval. `place` is the arm's among all, from 0."""

    place: int
    name: str
    share: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmValues:
    """People's figures in an arm, at least one, and the arm's value of the metric if any. `place` as in ArmShare."""

    place: int
    name: str
    values: Sequence[float]
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPoint:
    """A number of people per arm, and the power, 0 to 1, that it gives."""

    users: int
    power: float


def course(line: Timeline, metric: Metric, *, number: int, label: str, name: str) -> str:
    """The difference with its interval as it was known over time; diamonds are planned looks, filled ones decided.

    `number` is the treatment's, from 1. `label` says what is to be seen, `name` makes the names of the parts the
    plot's own in the page: both are so for all plots.
    """
    scale = 100 if metric.kind is Kind.PROPORTION else 1
    unit = "percentage points" if metric.kind is Kind.PROPORTION else _short(metric.name)

    def draw(axes: Axes) -> None:
        colour = _colour(number)
        axes.axhline(0, color=_INK, linewidth=0.8)
        _draw_moments(axes, line.moments, scale=scale, colour=colour)
        for each in line.looks:
            _draw_look(axes, each.at, each.taken, scale=scale, colour=colour)
        low, high = _frame(line, metric)
        axes.set_ylim(low * scale, high * scale)
        axes.set_title(f"difference ({unit})")
        axes.set_xlabel("days since the first observation" if line.by_day else "people observed")

    return _svg(draw, height=3.2, label=label, name=name)


def shares(arms: Sequence[ArmShare], *, label: str, name: str) -> str:
    """A bar for each arm's share, with its interval."""

    def draw(axes: Axes) -> None:
        for row, arm in enumerate(arms):
            percent, low, high = (100 * value for value in (arm.share, arm.interval.low, arm.interval.high))
            axes.barh(row, percent, height=0.5, color=_colour(arm.place), alpha=0.45)
            axes.plot([low, high], [row, row], color=_INK, marker="|", markersize=10)
            axes.plot([percent], [row], color=_INK, marker="o", markersize=5)
        _name_bars(axes, [arm.name for arm in arms])
        axes.set_xlim(left=0)
        axes.set_xlabel("% of people")

    return _svg(draw, height=_bars_height(len(arms)), label=label, name=name)


def histogram(arms: Sequence[ArmValues], metric: Metric, *, label: str, name: str) -> str:
    """How people's figures spread in each arm; lines mark the arms' values.

    What lies beyond the first and last percentile is in the outermost bins, lest a single figure hide the others.
    """
    import numpy as np

    def draw(axes: Axes) -> None:
        everybody = np.concatenate([np.asarray(arm.values, dtype=float) for arm in arms])
        low, high = (float(end) for end in np.percentile(everybody, (1, 99)))
        if low == high:
            low, high = float(everybody.min()), float(everybody.max())
        edges = np.linspace(low, high, BINS + 1)
        for arm in arms:
            counts, _ = np.histogram(np.clip(arm.values, low, high), bins=edges)
            colour, style = _colour(arm.place), _LINES[arm.place % len(_LINES)]
            percents = 100 * counts / len(arm.values)
            axes.stairs(percents, edges, fill=True, alpha=0.18, color=colour)
            axes.stairs(percents, edges, linewidth=1.8, label=_in_legend(arm.name), color=colour, linestyle=style)
            if arm.value is not None and low <= arm.value <= high:
                axes.axvline(arm.value, linewidth=1.2, color=colour, linestyle=style)
        axes.set_title("% of people")
        axes.set_xlabel(_short(metric.name))

    return _svg(draw, height=3.2, label=label, name=name)


def sample_ratio(arms: Sequence[ArmUsers], *, label: str, name: str) -> str:
    """A bar for the people of each arm, and a diamond where they were expected."""

    def draw(axes: Axes) -> None:
        for place, each in enumerate(arms):
            axes.barh(place, each.users, height=0.5, color=_colour(place), alpha=0.45)
        expected = [each.expected for each in arms]
        axes.plot(expected, range(len(arms)), "D", color=_INK, markerfacecolor="none", label="expected")
        _name_bars(axes, [each.arm.name for each in arms])
        axes.set_xlim(left=0)
        axes.set_xlabel("people")

    return _svg(draw, height=_bars_height(len(arms)) + 0.3, label=label, name=name)


def power(
    curve: Sequence[PowerPoint], *, planned: PowerPoint, so_far: Sequence[tuple[str, PowerPoint]], label: str, name: str
) -> str:
    """Power against people per arm; with what was planned, and how far each treatment is."""

    def draw(axes: Axes) -> None:
        axes.plot([point.users for point in curve], [100 * point.power for point in curve], color=_INK)
        _mark(axes, planned, "planned", marker="s", colour=_INK)
        for place, (arm, point) in enumerate(so_far, start=1):
            words = "so far" if len(so_far) == 1 else f"{_in_legend(arm)} so far"
            _mark(axes, point, words, marker="oD^v"[(place - 1) % 4], colour=_colour(place))
        axes.set_ylim(0, 104)
        axes.set_xlim(left=0)
        axes.set_title("power (%)")
        axes.set_xlabel("people per arm")

    return _svg(draw, height=3.2, label=label, name=name)


def _draw_moments(axes: Axes, moments: Sequence[Moment], *, scale: float, colour: str) -> None:
    """A band as long as anybody may look; once it is decided the figures stand, which the broken line shows."""
    for basis, style, alpha in ((Basis.ALWAYS_VALID, "-", 0.22), (Basis.PLANNED_LOOK, "--", 0.1)):
        these = [moment for moment in moments if moment.effect.basis is basis]
        places = [moment.at for moment in these]
        axes.plot(places, [scale * moment.found.difference for moment in these], style, color=colour)
        lows = [scale * moment.found.interval.low for moment in these]
        highs = [scale * moment.found.interval.high for moment in these]
        axes.fill_between(places, lows, highs, color=colour, alpha=alpha, linewidth=0)


def _draw_look(axes: Axes, at: float, taken: LookTaken, *, scale: float, colour: str) -> None:
    if not isinstance(taken.comparison, Comparison):
        return
    interval, difference = taken.comparison.interval, scale * taken.comparison.difference
    axes.plot([at, at], [scale * interval.low, scale * interval.high], color=_INK, linewidth=1, marker="_")
    filled = colour if taken.decides else "none"
    axes.plot([at], [difference], "D", color=_INK, markerfacecolor=filled, markersize=6)
    axes.annotate(f"{taken.look.number}", (at, difference), xytext=(6, 5), textcoords="offset points", fontsize=9)


def _frame(line: Timeline, metric: Metric) -> tuple[float, float]:
    """What to show of the differences: all intervals of the last two thirds. Those of the first few people are huge."""
    last = line.moments[-1].at
    intervals = [moment.found.interval for moment in line.moments if moment.at >= last / 3]
    low = min(0.0, *(each.low for each in intervals))
    high = max(0.0, *(each.high for each in intervals))
    if metric.kind is Kind.PROPORTION:
        low, high = max(-1.0, low), min(1.0, high)
    margin = 0.08 * (high - low)
    return low - margin, high + margin


def _mark(axes: Axes, point: PowerPoint, words: str, *, marker: str, colour: str) -> None:
    axes.axvline(point.users, color=colour, linestyle=":", linewidth=1)
    axes.plot([point.users], [100 * point.power], marker, color=colour, label=f"{words}: {point.users:,}")


def _name_bars(axes: Axes, names: Iterable[str]) -> None:
    labels = [_short(name) for name in names]
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()


def _bars_height(bars: int) -> float:
    return 0.9 + 0.5 * bars


def _colour(arm: int) -> str:
    return _ARMS[arm % len(_ARMS)]


def _short(name: str) -> str:
    shown = on_one_line(name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"


def _in_legend(name: str) -> str:
    """With a space, which nobody sees, because Matplotlib leaves out what begins with "_"."""
    return f" {_short(name)}"


def _svg(draw: Callable[[Axes], None], *, height: float, label: str, name: str) -> str:
    """One plot. Matplotlib's warnings are of letters that its font lacks, and the browser's has."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot(facecolor="none")
        draw(axes)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if labels := axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside upper left", ncols=2 if len(max(labels, key=len)) <= LONGEST_NAME else 1)
        drawn = StringIO()
        figure.savefig(drawn, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _inside_html(drawn.getvalue(), label=label, name=name)


def _inside_html(svg: str, *, label: str, name: str) -> str:
    """The drawing without what belongs to a file of its own: namespaces, a style for everything, ids used twice."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _attribute(key.rpartition("}")[2], value, name=name)
            for key, value in element.attrib.items()
        }
        for child in [child for child in element if child.tag.endswith("}style")]:
            element.remove(child)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": on_one_line(label)}
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(key: str, value: str, *, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    value = value.replace("url(#", f"url(#{name}-")
    if key == "href":
        value = value.replace("#", f"#{name}-")
    if key == "style":
        for colour, variable in _VARIABLES.items():
            value = value.replace(colour, variable)
    return value
