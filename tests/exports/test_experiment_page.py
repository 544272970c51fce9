"""What an experiment's page shows, and that it is a file of its own."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from math import inf, nan
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder

from cmo.exports.experiment_page import TEMPLATE, page
from cmo.exports.experiment_timeline import MOMENTS, timelines
from cmo.exports.experiment_words import apart, p_value, span
from cmo.policy.analysis import analyse
from cmo.policy.experiment import Analysis, Arm, Experiment, Guardrail, Recommendation
from cmo.policy.measuring import Better, Kind, Metric, Observation, Revision, estimate, figures, people
from cmo.policy.statistics import Comparison, Estimate, SampleRatio, Undefined

START = datetime(2026, 3, 1, tzinfo=UTC)
DURING, AFTER = START + timedelta(days=20), START + timedelta(days=29)

THUMBS = Metric(name="thumbs_up", kind=Kind.PROPORTION)
SCORE = Metric(name="score", kind=Kind.MEAN)
SECONDS = Metric(name="seconds", kind=Kind.RATIO, better=Better.LOWER)
ERROR = Metric(name="error", kind=Kind.PROPORTION, better=Better.LOWER)

PLAN = Experiment(
    name="graph_first",
    hypothesis="Answers from the papers get more thumbs up.",
    arms=(Arm(name="perplexity", weight=50), Arm(name="lightrag", weight=50)),
    primary=THUMBS,
    secondaries=(SCORE,),
    guardrails=(Guardrail(metric=SECONDS, margin=2.0), Guardrail(metric=ERROR, ceiling=0.05)),
    start=START,
    duration=timedelta(days=28),
    planned_users=100,
)


class Element(NamedTuple):
    """A tag with its attributes, and the tags it stands in."""

    tag: str
    attributes: dict[str, str]
    within: tuple[str, ...]


class Read(HTMLParser):
    """A page as a browser takes it apart: its elements, and the texts in each kind of them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, tuple(self._open)))
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, tuple(self._open)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self._texts.append((tuple(self._open), data))

    def named(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def text(self, tag: str) -> str:
        """All that stands in elements of this kind."""
        return "".join(text for within, text in self._texts if tag in within)

    def caption(self, start: str) -> str:
        """The one caption that begins so."""
        captions, inside = [""], False
        for within, text in self._texts:
            if "figcaption" in within:
                captions[-1] += text
                inside = True
            elif inside:
                captions.append("")
                inside = False
        (found,) = [caption for caption in captions if caption.startswith(start)]
        return found


def observed(
    users: int, plan: Experiment = PLAN, *, shares: Sequence[float] = (0.4, 0.5), timed: bool = True
) -> list[Observation]:
    """So many people in the arms in turn, one question each, over 14 days."""
    chance = np.random.default_rng(5)
    return [
        Observation(
            user=f"u{number}",
            arm=plan.arms[number % len(plan.arms)].name,
            metrics={
                "thumbs_up": float(chance.random() < shares[number % len(plan.arms)]),
                "score": float(chance.uniform(0, 1)),
                "seconds": float(chance.uniform(1, 4)),
                "error": 0.0,
            },
            at=START + timedelta(days=14 * number / users) if timed else None,
        )
        for number in range(users)
    ]


def now(observations: Sequence[Observation], plan: Experiment = PLAN) -> Analysis:
    return analyse(plan, observations, now=DURING)


OPEN = observed(130)
RARE = [each for each in OPEN if each.arm == "lightrag" or int(each.user[1:]) % 8 == 0]


@pytest.fixture(scope="module")
def html() -> str:
    return page(now(OPEN), OPEN)


def test_the_page_loads_nothing_and_runs_nothing(html: str) -> None:
    read = Read(html)

    assert {element.tag for element in read.elements} & {"script", "link", "img", "image", "iframe", "object"} == set()
    attributes = [pair for element in read.elements for pair in element.attributes.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("src", "srcset", "action", "data")]
    assert not [value for name, value in attributes if name.endswith("href") and not value.startswith("#")]
    assert not re.search(r"https?:|//|@import|url\((?!#)", html.removeprefix("<!DOCTYPE html>"))


def test_every_part_of_a_plot_that_is_referred_to_is_there_once(html: str) -> None:
    ids = [element.attributes["id"] for element in Read(html).elements if "id" in element.attributes]

    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(|href=\")#([^\")]+)", html)) <= set(ids)


def test_the_recommendation_comes_first_with_its_reasons(html: str) -> None:
    found = now(OPEN)
    text = Read(html).text("body")

    assert found.recommendation is Recommendation.CONTINUE_TESTING
    assert text.index("Continue testing") < text.index(found.reasons[0]) < text.index("expected")


def test_every_plot_has_a_name_and_a_caption(html: str) -> None:
    read = Read(html)
    drawings = read.named("svg")

    assert len(drawings) == len(read.named("figcaption")) == 7
    assert all(drawing.within[-1] == "figure" for drawing in drawings)
    assert all(drawing.attributes["role"] == "img" and drawing.attributes["aria-label"] for drawing in drawings)


def test_colours_are_the_pages_so_that_plots_can_be_read_in_the_dark(html: str) -> None:
    styles = [element.attributes.get("style", "") for element in Read(html).elements if "svg" in element.within]

    assert any("var(--ink)" in style for style in styles)
    assert not [style for style in styles if "#" in style.replace("url(#", "")]
    assert "prefers-color-scheme: dark" in html


def test_captions_say_what_the_analysis_found(html: str) -> None:
    found, read = now(OPEN), Read(html)

    (effect,) = found.primary
    assert isinstance(effect.comparison, Comparison)
    caption = read.caption("lightrag against perplexity on thumbs_up")
    assert apart(THUMBS, effect.comparison.difference) in caption
    assert span(THUMBS, effect.comparison.interval) in caption
    assert "valid at any time (130 people)" in caption
    assert f"({len(found.courses[0].looks)} taken)" in caption

    assert isinstance(found.ratio, SampleRatio)
    assert read.caption("perplexity 65 of 65 expected; lightrag 65 of 65").endswith(f"{p_value(found.ratio.p_value)}).")

    assert found.detectable is not None
    assert f"difference of {apart(THUMBS, found.detectable, sign='')}" in read.caption("The chance to find")
    assert "Planned: 100 people, 80%; so far: lightrag is at 65 per arm, 61%" in read.caption("The chance to find")


def test_captions_of_distributions_give_each_arms_figure(html: str) -> None:
    read = Read(html)
    groups = {arm.name: [each for each in people(OPEN) if each.arm == arm.name] for arm in PLAN.arms}
    for metric in (SCORE, SECONDS):
        caption = read.caption(f"{metric.name}, how the means")
        for arm, group in groups.items():
            found = estimate(figures(metric, group))
            assert isinstance(found, Estimate)
            assert f"{arm} {found.value:.4g} (65 people)" in caption
    thumbs = figures(THUMBS, groups["lightrag"]).count
    assert f"lightrag {thumbs.successes / 65:.1%} (" in read.caption("thumbs_up, people of whom")


def test_the_tables_say_which_figures_are_valid_at_any_time(html: str) -> None:
    text = Read(html).text("table")

    assert text.count("at any time") == 4
    assert "at the look" not in text


def test_a_decision_stands_from_its_look_on() -> None:
    decided = observed(130, shares=(0.1, 0.9))
    (line,) = timelines(now(decided), decided)
    read = Read(page(now(decided), decided))

    crossed = next(each for each in line.looks if each.taken.decides)
    after = [moment.found for moment in line.moments if moment.at >= crossed.at]
    assert len(after) > 2
    assert set(after) == {after[0]}
    assert f"from look {crossed.taken.look.number} on" in read.caption("lightrag against")
    assert "at the look" in read.text("table")


@pytest.mark.parametrize("timed", [True, False])
def test_the_course_ends_with_the_analysis_and_passes_each_look(timed: bool) -> None:
    observations = observed(130, timed=timed)
    found = now(observations)
    (line,) = timelines(found, observations)

    assert line.by_day is timed
    assert line.moments[-1].effect == found.primary[0]
    assert [each.taken for each in line.looks] == list(found.courses[0].looks)
    assert {each.at for each in line.looks} <= {moment.at for moment in line.moments}
    assert 10 <= len(line.moments) <= MOMENTS + len(line.looks) + 1
    places = [moment.at for moment in line.moments]
    assert places == sorted(places)
    assert places[-1] == (pytest.approx(14 * 129 / 130) if timed else 130)


def test_what_comes_later_changes_no_earlier_moment() -> None:
    (short,), (long,) = (timelines(now(each), each) for each in (OPEN[:60], OPEN))

    later = {moment.at: moment.found for moment in long.moments}
    both = [moment for moment in short.moments if moment.at in later]
    assert len(both) > 3
    assert all(later[moment.at] == moment.found for moment in both)


def test_earlier_moments_are_of_what_was_known_then() -> None:
    late = [replace(each, revised=(Revision(until=AFTER, metrics={"thumbs_up": 0.0}),)) for each in OPEN]
    (line,), (known,) = timelines(now(late), late), timelines(now(OPEN), OPEN)

    assert {moment.found.difference for moment in line.moments[:-1]} == {0}
    assert line.moments[-1] == known.moments[-1]


def test_observations_may_come_in_any_order_when_they_have_times() -> None:
    backwards = OPEN[::-1]

    assert timelines(now(backwards), backwards) == timelines(now(OPEN), OPEN)


def test_an_invalid_experiment_shows_no_effects_but_why(html: str) -> None:
    found = now(RARE)
    read = Read(page(found, RARE))

    assert found.recommendation is Recommendation.INVALID
    assert found.reasons[0] in read.text("main")
    assert len(read.named("table")) == len(read.named("svg")) == 1
    assert "difference" not in read.text("body")
    assert "thumbs_up" not in read.text("body").replace(found.experiment.hypothesis, "")
    assert "thumbs_up" in Read(html).text("body")
    assert read.caption("perplexity").startswith("perplexity 17 of 41 expected; lightrag 65 of 41 expected.")


HOSTILE = '<script>alert("1")</script>'


def test_texts_from_outside_show_as_themselves() -> None:
    plan = replace(
        PLAN,
        name=HOSTILE,
        hypothesis="</style><img src=x onerror=alert(1)> {{ 7 * 7 }} $x^2$ \x00\ud800\u202e漢字",
        arms=(Arm(name="$x^2$ & <b>", weight=50), Arm(name=HOSTILE, weight=50)),
        primary=replace(THUMBS, name="thumbs_up"),
        secondaries=(replace(SCORE, name='"><svg onload=alert(1)>'),),
    )
    observations = [
        replace(each, metrics={**each.metrics, '"><svg onload=alert(1)>': each.metrics["score"]})
        for each in observed(60, plan)
    ]
    html = page(now(observations, plan), observations)
    read = Read(html)

    assert read.named("script") == read.named("img") == read.named("b") == []
    assert read.text("h1") == HOSTILE
    assert read.text("header").split("\n")[2] == "</style><img src=x onerror=alert(1)> {{ 7 * 7 }} $x^2$ \ufffd漢字"
    assert not [name for element in read.elements for name in element.attributes if name.startswith("on")]
    assert "$x^2$ & <b>" in read.text("svg")
    assert '<script>alert("1")</s…' in read.text("svg")
    html.encode("utf-8")


def test_the_same_input_gives_the_same_page_and_leaves_no_settings_behind(html: str) -> None:
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "lines.linewidth": 9}):
        again = page(now(OPEN), OPEN)

    assert again == html
    assert dict(matplotlib.rcParams) == before


def seen(user: int, arm: str, **metrics: float | None) -> Observation:
    return Observation(user=str(user), arm=arm, metrics=metrics)


def alike(thumbs: float | None, score: float | None) -> list[Observation]:
    return [
        seen(number, PLAN.arms[number % 2].name, thumbs_up=thumbs, score=score, seconds=score, error=0.0)
        for number in range(8)
    ]


DEGENERATE = {
    "nobody": [],
    "one person": observed(2)[:1],
    "one of each": observed(2),
    "an empty arm": [each for each in OPEN[:16] if each.arm == "lightrag"],
    "all equal": alike(1.0, 0.5),
    "all missing": alike(None, None),
    "not a number": [*alike(nan, inf), *alike(inf, nan)],
    "nothing to be measured": [seen(number, PLAN.arms[number % 2].name) for number in range(8)],
    "too large": [*observed(20), seen(99, "lightrag", score=1e300, seconds=1e300)],
    "large": [*observed(20), seen(99, "lightrag", score=1e59, seconds=1e59)],
    "equal but for rounding": [
        seen(number, PLAN.arms[number % 2].name, score=0.1 + number * 1e-17, seconds=1e17 + number)
        for number in range(8)
    ],
}


@pytest.mark.parametrize("data", DEGENERATE)
def test_whatever_the_data_are_there_is_a_page(data: str) -> None:
    plan = replace(PLAN, primary=SCORE, secondaries=(THUMBS,), guardrails=(Guardrail(metric=SECONDS, margin=2.0),))
    found = now(DEGENERATE[data], plan)
    html = page(found, DEGENERATE[data])
    read = Read(html)

    assert found.recommendation is Recommendation.INSUFFICIENT_DATA
    assert "Insufficient data" in read.text("h2")
    assert all(reason in read.text("main") for reason in found.reasons)
    assert len(read.named("figcaption")) == 6
    has_no_effect = isinstance(found.primary[0].comparison, Undefined)
    assert ("There is no effect to draw" in read.text("figcaption")) is has_no_effect
    assert not re.search(r"\b(nan|inf)\b", read.text("table") + read.text("figcaption") + read.text("svg"))
    assert not re.search(r' d="[^"]*(nan|inf)', html)


def test_nobody_observed_is_said_where_the_plots_would_be() -> None:
    read = Read(page(now([]), []))

    assert "Nobody was observed yet." in read.text("figcaption")
    assert "Nothing was measured of thumbs_up." in read.text("figcaption")
    assert len(read.named("svg")) == 1  # power needs no data


def test_each_of_several_treatments_has_its_course() -> None:
    plan = replace(PLAN, arms=(*PLAN.arms, Arm(name="_both", weight=50)))
    observations = observed(90, plan, shares=(0.4, 0.5, 0.6))
    read = Read(page(now(observations, plan), observations))

    assert read.caption("lightrag against perplexity").count("alpha 0.025") == 1
    assert read.caption("_both against perplexity").count("alpha 0.025") == 1
    assert "_both is at 30 per arm" in read.caption("The chance to find")
    assert len(re.findall(r"\b_both\b", read.text("svg"))) == 6  # a name for each plot but the courses


def test_neither_matplotlib_nor_jinja_is_loaded_before_the_first_page() -> None:
    heavy = "{'matplotlib', 'jinja2', 'numpy', 'scipy', 'statsmodels'} & set(sys.modules)"
    code = f"import sys, cmo.exports.experiment_page; print({heavy} or 'none')"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "none\n"


def test_the_template_is_part_of_the_package() -> None:
    root = Path(__file__).resolve().parents[2]
    packed = [Path(each.path) for each in WheelBuilder(str(root)).recurse_included_files()]

    assert root / "cmo/exports" / TEMPLATE in packed
