"""What variants may change, and what is passed over."""

from __future__ import annotations

import pytest

from cmo.policy.arms import engine_of, refuse_wrong, tuning_of
from cmo.values import Tuning

ENGINES = ("lightrag", "perplexity")
MODES = ("local", "hybrid")
EVERYTHING = {"engine": "lightrag", "mode": "local", "top_k": 8, "max_tokens": 400, "temperature": 0.7}


def test_a_variant_says_who_is_asked_and_how() -> None:
    refuse_wrong(EVERYTHING, engines=ENGINES, modes=MODES)

    assert engine_of(EVERYTHING) == "lightrag"
    assert tuning_of(EVERYTHING) == Tuning(mode="local", top_k=8, max_tokens=400, temperature=0.7)


def test_a_variant_without_overrides_changes_nothing() -> None:
    refuse_wrong({}, engines=ENGINES, modes=MODES)

    assert (engine_of({}), tuning_of({})) == (None, Tuning())


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"speed": 1}, '"speed" is unknown'),
        ({"engine": "google"}, "Allowed: lightrag, perplexity"),
        ({"engine": ["lightrag"]}, '"engine" is'),
        ({"mode": "wild"}, "Allowed: local, hybrid"),
        ({"mode": {"a": 1}}, '"mode" is'),
        ({"top_k": 0}, "from 1 to 50"),
        ({"top_k": True}, '"top_k" is True'),
        ({"top_k": 5.0}, '"top_k" is 5.0'),
        ({"max_tokens": 8_001}, "from 1 to 8,000"),
        ({"temperature": 2.1}, "from 0 to 2"),
        ({"temperature": float("nan")}, '"temperature" is nan'),
        ({"temperature": "hot"}, "\"temperature\" is 'hot'"),
    ],
)
def test_what_cannot_be_obeyed_is_named_to_whoever_writes_it_and_passed_over_otherwise(
    wrong: dict[str, object], named: str
) -> None:
    with pytest.raises(ValueError, match=r"Allowed: |is unknown") as refusal:
        refuse_wrong(wrong, engines=ENGINES, modes=MODES)

    assert named in str(refusal.value)
    assert tuning_of(wrong) in (Tuning(), Tuning(mode="wild"))
