import json

from cmo.policy.explanation import decision_as_json, explanation
from cmo.values import Decision, RoutingCheck

DECISION = Decision(
    engine="perplexity",
    reason="rule:news",
    bucket=38.9368,
    configuration="c1",
    rule="news",
    fallbacks=("lightrag",),
    checks=(
        RoutingCheck(name="circuit_open", matched=False, words="No engine is resting after failures."),
        RoutingCheck(name="rule:news", matched=True, words="The question needs recent information."),
    ),
)
REFUSAL = Decision(
    engine=None,
    reason="no_engine",
    bucket=1.0,
    configuration="c1",
    checks=(RoutingCheck(name="no_engine", matched=True, words="No engine is ready to answer."),),
)


def test_the_engine_comes_first_then_why_then_what_was_checked_before() -> None:
    assert explanation(DECISION) == [
        "Asked: the web (rule:news).",
        "Why: The question needs recent information.",
        "If that fails: your papers.",
        "Checked before:",
        "- No engine is resting after failures. (circuit_open)",
        "Place in the rollout: 38.94 of 100. Configuration: c1.",
    ]


def test_a_decision_for_nobody_says_so() -> None:
    assert explanation(REFUSAL)[:2] == ["Asked: no engine (no_engine).", "Why: No engine is ready to answer."]


def test_a_decision_for_free_says_so() -> None:
    free = Decision(
        engine="lightrag", reason="budget_exhausted", bucket=1.0, configuration="c1", free=True, checks=REFUSAL.checks
    )
    assert "Only what costs nothing is done." in explanation(free)


def test_an_engine_without_another_name_is_told_by_its_own() -> None:
    other = Decision(engine="third", reason="rollout", bucket=1.0, configuration="c1", checks=REFUSAL.checks)
    assert explanation(other)[0] == "Asked: third (rollout)."


def test_a_decision_without_checks_is_told_without_a_why() -> None:
    bare = Decision(engine="lightrag", reason="only_engine", bucket=1.0, configuration="c1")
    assert explanation(bare) == [
        "Asked: your papers (only_engine).",
        "Place in the rollout: 1.00 of 100. Configuration: c1.",
    ]


def test_json_holds_everything_and_survives_the_journey() -> None:
    as_json = decision_as_json(DECISION)
    assert json.loads(json.dumps(as_json)) == as_json
    assert as_json == {
        "engine": "perplexity",
        "reason": "rule:news",
        "rule": "news",
        "free": False,
        "bucket": 38.9368,
        "fallbacks": ["lightrag"],
        "configuration": "c1",
        "checks": [
            {"name": "circuit_open", "matched": False, "words": "No engine is resting after failures."},
            {"name": "rule:news", "matched": True, "words": "The question needs recent information."},
        ],
    }
