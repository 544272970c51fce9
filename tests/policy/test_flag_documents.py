import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.errors import FlagMalformed
from cmo.policy.flag_documents import LARGEST_DOCUMENT, document_of, document_text, flag_from
from cmo.policy.flags import FeatureFlag, FlagStatus

ARMS = [{"name": "control", "weight": 40}, {"name": "local", "weight": 60, "config_overrides": {"mode": "local"}}]
WHOLE: dict[str, Any] = {
    "description": "Which mode is best?",
    "status": "ab_test",
    "rollout_percentage": 50.0,
    "segments": {
        "cohorts": {"beta": {"enabled": True, "percentage": 90.0}, "new": {"enabled": False}},
        "regions": {"europe": {"enabled": True}},
        "condition": {"attribute": "plan", "in": ["pro", "team"]},
    },
    "variants": [{**arm, "weight": float(str(arm["weight"]))} for arm in ARMS],
    "overrides": {"ann": "local", "bob": False},
    "namespace": {"name": "answers", "from": 0.0, "to": 50.0},
    "metadata": {"ticket": ["A-1"]},
    "owner": "ann",
    "expires_at": "2026-12-31T12:00:00+00:00",
}


def test_a_flag_is_written_as_it_was_read() -> None:
    flag = flag_from("modes", WHOLE)
    assert document_of(flag) == WHOLE
    assert flag_from("modes", json.loads(document_text(flag))) == flag


def test_an_empty_document_is_a_flag_that_is_off() -> None:
    assert flag_from("x", {}) == FeatureFlag(name="x", status=FlagStatus.DISABLED)
    assert document_of(FeatureFlag(name="x")) == {}


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-12-31", datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (date(2026, 12, 31), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-12-31T12:00:00", datetime(2026, 12, 31, 12, tzinfo=UTC)),
        ("2026-12-31T12:00:00+02:00", datetime(2026, 12, 31, 10, tzinfo=UTC)),
        (datetime(2026, 12, 31, 12, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 12, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_flag_expires_at_a_time_or_with_the_end_of_a_day(written: object, moment: datetime) -> None:
    assert flag_from("x", {"expires_at": written}).expires_at == moment


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "the flag has a wrong form"),
        ({"colour": "red"}, 'unknown key "colour". Allowed: description, status'),
        ({1: 2}, 'unknown key "1"'),
        ({"status": "on"}, '"status" has a wrong value. Allowed: disabled, enabled'),
        ({"status": ["enabled"]}, '"status"'),
        ({"rollout_percentage": 101}, "a number from 0 to 100"),
        ({"rollout_percentage": True}, "a number from 0 to 100"),
        ({"rollout_percentage": float("nan")}, "a number from 0 to 100"),
        ({"description": 1}, "a text"),
        ({"description": "x" * 2_001}, "a text of at most"),
        ({"permanent": "yes"}, "true or false"),
        ({"expires_at": "soon"}, "a day"),
        ({"expires_at": 1}, "a day"),
        ({"expires_at": "0001-01-01T00:00:00+23:00"}, "a day"),
        ({"metadata": []}, "a table"),
        ({"overrides": {"ann": 1}}, "people's ids"),
        ({"overrides": {"": True}}, "people's ids"),
        ({"overrides": {"ann": "local"}}, 'unknown variant "local"'),
        ({"segmentation": "dice"}, "hash, random"),
        ({"segments": {"cities": {}}}, "cohorts, regions, condition"),
        ({"segments": {"cohorts": {"new": {"percentage": -1}}}}, "a number from 0 to 100"),
        ({"segments": {"cohorts": {"new": True}}}, '"new" has a wrong form'),
        ({"segments": {"condition": {"attribute": "x"}}}, "not tested once"),
        ({"variants": {}}, "a list"),
        ({"variants": ["control"]}, "a variant has a wrong form"),
        ({"variants": [{"weight": 1}]}, '"name" is missing'),
        ({"variants": [{"name": "a"}]}, '"weight" is missing'),
        ({"variants": [{"name": "a", "weight": -1}]}, '"weight" is missing or wrong'),
        ({"variants": [{"name": "a", "weight": float("inf")}]}, '"weight" is missing or wrong'),
        ({"variants": [{"name": "a", "weight": 0.0001}]}, "at most three decimals"),
        ({"variants": [{"name": "a", "weight": 0}]}, "no weight"),
        ({"variants": [{"name": "a", "weight": 1}] * 2}, "one twice"),
        ({"variants": [{"name": f"v{n}", "weight": 1} for n in range(21)]}, "at most 20"),
        ({"status": "ab_test"}, "nothing to compare"),
        ({"status": "ab_test", "variants": ARMS, "segmentation": "random"}, "cannot be random"),
        ({"status": "canary", "segmentation": "random"}, "cannot be random"),
        ({"status": "canary", "variants": [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}]}, '"control"'),
        ({"namespace": {"name": "n", "from": 50, "to": 50}}, "nobody would be in it"),
        ({"namespace": {"name": "n", "from": 50}}, '"to" has a wrong value'),
        ({"namespace": "n"}, '"namespace" has a wrong form'),
    ],
    ids=str,
)
def test_a_wrong_flag_is_refused_with_what_is_allowed(document: object, told: str) -> None:
    with pytest.raises(FlagMalformed) as refused:
        flag_from("modes", document)
    assert str(refused.value).startswith('Flag "modes": ')
    assert told in str(refused.value)


def test_a_number_larger_than_floats_is_no_percentage() -> None:
    with pytest.raises(FlagMalformed, match="a number from 0 to 100"):
        flag_from("modes", {"rollout_percentage": 10**400})


@pytest.mark.parametrize("name", ["", "A", "a b", ".a", "a:b", "x" * 81])
def test_a_name_is_simple(name: str) -> None:
    with pytest.raises(FlagMalformed, match="its name is wrong"):
        flag_from(name, {})


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), "\ud800"])
def test_what_json_cannot_hold_is_not_kept(value: object) -> None:
    with pytest.raises(FlagMalformed, match="cannot be kept"):
        document_text(flag_from("x", {"metadata": {"key": value}}))


def test_a_flag_is_not_of_any_size() -> None:
    with pytest.raises(FlagMalformed, match="too large"):
        document_text(flag_from("x", {"metadata": {"key": "x" * LARGEST_DOCUMENT}}))


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.sampled_from([*WHOLE, "and", "name"]), part, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(WHOLE)), anything))
def test_whatever_stands_there_it_is_a_flag_or_malformed(document: dict[str, object]) -> None:
    try:
        flag = flag_from("x", document)
    except FlagMalformed:
        return
    assert flag_from("x", document_of(flag)) == flag
