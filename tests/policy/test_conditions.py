import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.errors import FlagMalformed
from cmo.policy.conditions import (
    DEEPEST,
    LONGEST_TEXT,
    MOST_PARTS,
    bounded_pattern,
    condition_from,
    document_of,
    holds,
)

ANN = {"plan": "pro", "questions": 12, "share": 0.5, "beta": True, "tags": ["nmr", "ms"], "email": "ann@uni.edu"}


def asks(attribute: str, **operator: object) -> dict[str, object]:
    return {"attribute": attribute, **{name.rstrip("_"): value for name, value in operator.items()}}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (asks("plan", equals="pro"), True),
        (asks("plan", equals="Pro"), False),
        (asks("beta", equals=True), True),
        (asks("beta", equals=1), False),
        (asks("questions", equals=12.0), True),
        (asks("plan", in_=["team", "pro"]), True),
        (asks("plan", in_=["team"]), False),
        (asks("beta", in_=[1]), False),
        (asks("plan", contains="r"), True),
        (asks("tags", contains="ms"), True),
        (asks("tags", contains="m"), False),
        (asks("questions", contains=1), False),
        (asks("email", matches=r"[\w.]+@uni\.edu"), True),
        (asks("email", matches="uni"), False),
        (asks("questions", matches="12"), False),
        (asks("questions", above=12), False),
        (asks("questions", at_least=12), True),
        (asks("questions", below=12.5), True),
        (asks("questions", at_most=11), False),
        (asks("share", above=0), True),
        (asks("plan", above=0), False),
        (asks("beta", above=0), False),
    ],
    ids=json.dumps,
)
def test_what_holds(document: object, expected: bool) -> None:
    assert holds(condition_from(document), ANN) is expected


def test_what_is_not_known_holds_nothing_but_the_opposite() -> None:
    unknown = asks("institution", equals="uni")
    assert not holds(condition_from(unknown), ANN)
    assert holds(condition_from({"not": unknown}), ANN)


def test_numbers_may_be_larger_than_floats() -> None:
    assert holds(condition_from(asks("questions", below=10**400)), ANN)
    assert holds(condition_from(asks("questions", above=0.5)), {"questions": 10**400})


@pytest.mark.parametrize(("one", "other"), list(itertools.product((True, False), repeat=2)))
def test_parts_are_joined_as_their_names_say(one: bool, other: bool) -> None:
    parts = [asks("one", equals=True), asks("other", equals=True)]
    known = {"one": one, "other": other}
    assert holds(condition_from({"and": parts}), known) is (one and other)
    assert holds(condition_from({"or": parts}), known) is (one or other)
    assert holds(condition_from({"not": parts[0]}), known) is (not one)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("plan", "wrong part"),
        ({}, "0 keys"),
        ({"and": [], "or": []}, "2 keys"),
        ({"xor": []}, 'unknown key "xor"'),
        ({"and": []}, "a list of conditions"),
        ({"and": {}}, "a list of conditions"),
        ({"attribute": "", "equals": 1}, "a name"),
        ({"attribute": "plan"}, "not tested once"),
        ({"attribute": "plan", "equals": 1, "in": [1]}, "not tested once"),
        ({"attribute": "plan", "is": 1}, "equals, in, contains"),
        ({"attribute": "plan", "equals": None}, '"equals"'),
        ({"attribute": "plan", "in": "pro"}, "a list of 1"),
        ({"attribute": "plan", "in": []}, "a list of 1"),
        ({"attribute": "n", "above": "1"}, "a number"),
        ({"attribute": "n", "above": float("nan")}, "a number"),
        ({"attribute": "n", "above": True}, "a number"),
        ({"attribute": "n", "matches": 1}, "a text"),
        ({"and": [{"attribute": "n", "equals": 1}] * MOST_PARTS}, "too large"),
    ],
    ids=str,
)
def test_a_wrong_condition_says_what_is_allowed(document: object, told: str) -> None:
    with pytest.raises(FlagMalformed, match=told):
        condition_from(document)


def test_a_condition_can_only_be_so_deep() -> None:
    document: object = {"attribute": "n", "equals": 1}
    for _ in range(DEEPEST - 1):
        document = {"not": document}
    condition_from(document)
    with pytest.raises(FlagMalformed, match="too large"):
        condition_from({"not": document})


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a|a)*b",
        r"(.)\1",
        "(?=a)b",
        "(?i)a",
        "a**",
        ".*.*.*x",
        "a?" * 20,
        "(a|a)" * 20,
        "[",
        ")",
        "(",
        "x" * 300,
    ],
)
def test_a_pattern_that_could_take_long_is_refused(pattern: str) -> None:
    with pytest.raises(FlagMalformed, match="Allowed: a regular expression"):
        bounded_pattern(pattern)


@pytest.mark.parametrize("pattern", [".*a.*b", "(?:a|b)c*d*", r"\w*\d*x", "a{0,199}a{0,199}b", "(a|ab)(c|bcd)(d*)x"])
def test_a_pattern_that_is_allowed_is_quick_on_the_worst_text(pattern: str) -> None:
    allowed, worst = bounded_pattern(pattern), "a" * LONGEST_TEXT
    started = time.process_time()
    allowed.fullmatch(worst)
    assert time.process_time() - started < 0.1


def test_long_texts_match_nothing() -> None:
    condition = condition_from(asks("text", matches=".*"))
    assert holds(condition, {"text": "a" * LONGEST_TEXT})
    assert not holds(condition, {"text": "a" * (LONGEST_TEXT + 1)})


plain = st.text(max_size=5) | st.integers(-9, 9) | st.booleans()
tests = st.one_of(
    st.builds(lambda name, value: asks(name, equals=value), st.sampled_from("ab"), plain),
    st.builds(
        lambda name, value: asks(name, in_=value), st.sampled_from("ab"), st.lists(plain, min_size=1, max_size=3)
    ),
    st.builds(lambda name, value: asks(name, at_least=value), st.sampled_from("ab"), st.integers(-9, 9)),
    st.builds(lambda name: asks(name, matches="[a-z]*"), st.sampled_from("ab")),
)
conditions = st.recursive(
    tests,
    lambda part: st.one_of(
        st.builds(lambda parts: {"and": parts}, st.lists(part, min_size=1, max_size=3)),
        st.builds(lambda parts: {"or": parts}, st.lists(part, min_size=1, max_size=3)),
        st.builds(lambda one: {"not": one}, part),
    ),
    max_leaves=5,
)


@given(conditions, st.dictionaries(st.sampled_from("ab"), plain))
def test_a_condition_is_written_as_it_was_read_and_its_opposite_is_the_opposite(
    document: dict[str, object], known: dict[str, object]
) -> None:
    condition = condition_from(document)
    assert document_of(condition) == document
    assert holds(condition_from({"not": document}), known) is not holds(condition, known)
