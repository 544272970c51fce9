import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cmo.policy.assignment import LARGEST
from cmo.policy.conditions import condition_from
from cmo.policy.flags import (
    MAIN_ROLLOUT,
    STALE_AFTER,
    AnyFlag,
    FeatureFlag,
    FeatureVariant,
    FlagContext,
    FlagReason,
    FlagStatus,
    FlagValue,
    MalformedFlag,
    Namespace,
    Segmentation,
    Segments,
    Share,
    drawn_variant,
    evaluate,
)

SALT = "cmo_lightrag_2025"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ALICE = FlagContext(user_id="alice")
CONTROL = FeatureVariant(name="control", weight=50)
TREATMENT = FeatureVariant(name="treatment", weight=50, config_overrides={"mode": "local"})
AB_TEST = FeatureFlag(
    name="modes", status=FlagStatus.AB_TEST, rollout_percentage=100, variants=(CONTROL, TREATMENT), version=3
)

people = st.text(min_size=1, max_size=20)
shares = st.floats(min_value=0, max_value=100)
weights = st.lists(st.integers(0, 100_000), min_size=2, max_size=6)


def worth(flag: AnyFlag | None, context: FlagContext = ALICE, **given: Any) -> FlagValue:
    return evaluate(flag, context, **{"salt": SALT, "now": NOON, "chance": lambda: 0.5, **given})


def rollout(percentage: float, name: str = "citations", **given: Any) -> FeatureFlag:
    return FeatureFlag(name=name, status=FlagStatus.GRADUAL_ROLLOUT, rollout_percentage=percentage, **given)


@pytest.mark.parametrize(
    ("user_id", "place"), [("user123", 38.9368344422), ("alice", 90.7413997200), ("0", 45.4414205499)]
)
def test_the_main_rollout_places_people_as_the_documents_do(user_id: str, place: float) -> None:
    found = worth(rollout(50, MAIN_ROLLOUT), FlagContext(user_id=user_id))
    assert found.bucket == pytest.approx(place, abs=5e-11)
    assert found.value is (place <= 50)


# Last eight digits by sha256sum of GNU coreutils 9.1, of "USER:cmo_lightrag_2025:citations" in UTF-8.
@pytest.mark.parametrize(("user_id", "digits"), [("alice", "d41cdd2b"), ("user123", "e1bd3909")])
def test_other_flags_place_people_as_another_program_computes(user_id: str, digits: str) -> None:
    assert worth(rollout(50), FlagContext(user_id=user_id)).bucket == int(digits, 16) / LARGEST * 100


def test_variants_are_drawn_as_another_program_computes() -> None:
    """sha256sum of "alice:cmo_lightrag_2025:variant:citations" ends with bc407bfd, 73.54 % of the largest."""
    drawn = int("bc407bfd", 16) / LARGEST
    for weight, name in ((drawn + 0.0002, "control"), (drawn - 0.0002, "treatment")):
        arms = (replace(CONTROL, weight=weight * 100), replace(TREATMENT, weight=100 - weight * 100))
        found = worth(replace(AB_TEST, name="citations", variants=arms))
        assert found.variant is not None
        assert found.variant.name == name


PROGRAM = """
import json
from datetime import UTC, datetime
from cmo.policy.flag_documents import flag_from
from cmo.policy.flags import FlagContext, evaluate
flag = flag_from("modes", {"status": "ab_test", "rollout_percentage": 70, "variants": [
    {"name": "control", "weight": 40}, {"name": "local", "weight": 20}, {"name": "global", "weight": 40}],
    "namespace": {"name": "answers", "from": 10, "to": 90}})
found = [evaluate(flag, FlagContext(user_id=f"user{n}"), salt="s", now=datetime(2026, 3, 1, tzinfo=UTC),
    chance=lambda: 0.5) for n in range(200)]
print(json.dumps([(each.value, each.variant and each.variant.name, each.bucket.hex() if each.bucket else None)
    for each in found]))
"""


def test_five_processes_agree_whatever_their_hash_seed() -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1", "42", "4711", "4294967295")
    ]
    results = [run.communicate()[0] for run in runs]
    assert len(set(results)) == 1
    assert {variant for _, variant, _ in json.loads(results[0])} == {None, "control", "local", "global"}


@given(people, shares, shares, st.sampled_from([FlagStatus.GRADUAL_ROLLOUT, FlagStatus.CANARY, FlagStatus.AB_TEST]))
def test_raising_the_percentage_moves_nobody_out_and_changes_nobodys_variant(
    user_id: str, one: float, other: float, status: FlagStatus
) -> None:
    before, after = (
        worth(replace(AB_TEST, status=status, rollout_percentage=share), FlagContext(user_id=user_id))
        for share in sorted((one, other))
    )
    assert before.variant in (None, after.variant)
    assert after.value or not before.value


@given(people, st.text(min_size=1, max_size=10))
def test_zero_percent_is_nobody_and_a_hundred_is_everybody(user_id: str, name: str) -> None:
    assert not worth(rollout(0, name), FlagContext(user_id=user_id)).value
    assert worth(rollout(100, name), FlagContext(user_id=user_id)).value


@given(weights, st.integers(0, LARGEST))
def test_everybody_has_one_variant_and_none_without_weight(thousandths: list[int], drawn: int) -> None:
    assume(any(thousandths))
    arms = [FeatureVariant(name=str(number), weight=weight / 1_000) for number, weight in enumerate(thousandths)]
    assert drawn_variant(arms, drawn).weight > 0


@given(weights)
def test_each_variant_ends_at_the_very_number_where_its_weight_does(thousandths: list[int]) -> None:
    assume(any(thousandths))
    arms = [FeatureVariant(name=str(number), weight=weight / 1_000) for number, weight in enumerate(thousandths)]
    upto, whole = 0, sum(thousandths)
    for number, weight in enumerate(thousandths):
        upto += weight
        border = upto * LARGEST // whole
        if upto == 0:
            continue
        assert int(drawn_variant(arms, border).name) <= number
        if border < LARGEST:
            assert int(drawn_variant(arms, border + 1).name) > number


@given(people, st.integers(1, 99_000), st.integers(0, 1_000))
def test_raising_the_last_variants_weight_moves_nobody_out_of_it(user_id: str, weight: int, more: int) -> None:
    def variant(of_last: int) -> str:
        arms = (replace(CONTROL, weight=(100_000 - of_last) / 1_000), replace(TREATMENT, weight=of_last / 1_000))
        found = worth(replace(AB_TEST, variants=arms), FlagContext(user_id=user_id)).variant
        assert found is not None
        return found.name

    assert variant(weight) == "control" or variant(weight + more) == "treatment"


def test_people_are_spread_evenly_over_a_hundred_places() -> None:
    """Chi-square over 100 cells: 148.2 is its 99.9th percentile at 99 degrees of freedom."""
    counts = Counter(int(worth(rollout(50), FlagContext(user_id=f"user{n}")).bucket or 0) for n in range(50_000))
    assert sum((counts[cell] - 500) ** 2 / 500 for cell in range(100)) < 148.2


def test_variants_get_people_by_their_weights() -> None:
    """Chi-square over 4 cells: 16.3 is its 99.9th percentile at 3 degrees of freedom."""
    arms = tuple(
        FeatureVariant(name=name, weight=weight) for name, weight in zip("abcd", (40, 20, 30, 10), strict=True)
    )
    flag = replace(AB_TEST, variants=arms)
    counts = Counter(found.name for n in range(20_000) if (found := worth(flag, FlagContext(user_id=f"u{n}")).variant))
    assert sum((counts[arm.name] - 200 * arm.weight) ** 2 / (200 * arm.weight) for arm in arms) < 16.3


MEANT = Segments(condition=condition_from({"attribute": "plan", "equals": "pro"}))
NOT_NEW = Segments(cohorts={"new": Share(enabled=False)}, regions={"europe": Share(enabled=False)})
MODES_OFF = FlagValue(value=False, reason=FlagReason.OVERRIDE, version=3)


@pytest.mark.parametrize(
    ("flag", "context", "value", "reason"),
    [
        (None, ALICE, False, "unknown_flag"),
        (MalformedFlag(name="x", problem="?"), ALICE, False, "malformed"),
        (FeatureFlag(name="x"), ALICE, False, "disabled"),
        (FeatureFlag(name="x", overrides={"alice": True}), ALICE, False, "disabled"),
        (rollout(100, expires_at=NOON), ALICE, False, "expired"),
        (rollout(100, expires_at=NOON + timedelta(seconds=1)), ALICE, True, "rollout"),
        (rollout(0, overrides={"alice": True}), ALICE, True, "override"),
        (rollout(100, overrides={"alice": False}), ALICE, False, "override"),
        (rollout(100, overrides={"bob": False}), ALICE, True, "rollout"),
        (rollout(100, segments=MEANT), ALICE, False, "condition"),
        (rollout(100, segments=MEANT), FlagContext(user_id="a", attributes={"plan": "pro"}), True, "rollout"),
        (rollout(100, segments=NOT_NEW), FlagContext(user_id="a", cohort="New"), False, "cohort"),
        (rollout(100, segments=NOT_NEW), FlagContext(user_id="a", region="EUROPE"), False, "region"),
        (rollout(100, segments=NOT_NEW), FlagContext(user_id="a", region="asia"), True, "rollout"),
        (FeatureFlag(name="x", status=FlagStatus.ENABLED), FlagContext(), True, "enabled"),
        (rollout(50), FlagContext(), False, "no_user_id"),
        (rollout(100), FlagContext(), True, "rollout"),
        (rollout(0), FlagContext(), False, "rollout"),
        (AB_TEST, FlagContext(), False, "no_user_id"),
        (AB_TEST, ALICE, True, "ab_test"),
        (replace(AB_TEST, rollout_percentage=0), ALICE, False, "ab_test"),
    ],
)
def test_what_a_flag_is_worth_and_why(flag: AnyFlag | None, context: FlagContext, value: bool, reason: str) -> None:
    found = worth(flag, context)
    assert (found.value, found.reason.value) == (value, reason)


@pytest.mark.parametrize("default", [True, False])
def test_the_default_is_for_what_cannot_be_known_and_never_for_what_is_off(default: bool) -> None:
    assert worth(None, default=default).value is default
    assert worth(rollout(50), FlagContext(), default=default).value is default
    assert not worth(FeatureFlag(name="x"), default=default).value
    assert not worth(MalformedFlag(name="x", problem="?"), default=default).value
    assert not worth(rollout(100, expires_at=NOON), default=default).value


def test_a_value_tells_place_variant_and_version() -> None:
    found = worth(replace(AB_TEST, overrides={"bob": "treatment"}), FlagContext(user_id="bob"))
    assert found == FlagValue(value=True, reason=FlagReason.OVERRIDE, variant=TREATMENT, version=3)
    found = worth(AB_TEST)
    assert found.version == 3
    assert found.bucket is not None


@pytest.mark.parametrize(
    ("cohort", "region", "percentage"),
    [("", "", 20), ("beta", "", 80), ("", "europe", 60), ("beta", "europe", 60), ("beta", "other", 80)],
)
def test_cohorts_and_regions_have_shares_of_their_own_and_the_smaller_applies(
    cohort: str, region: str, percentage: float
) -> None:
    segments = Segments(
        cohorts={"beta": Share(percentage=80)}, regions={"europe": Share(percentage=60), "other": Share()}
    )
    for number in range(100):
        context = FlagContext(user_id=f"u{number}", cohort=cohort, region=region)
        assert worth(rollout(20, segments=segments), context).value is worth(rollout(percentage), context).value


def test_a_canary_has_as_many_people_in_its_control_and_they_do_not_get_it() -> None:
    flag = FeatureFlag(name="index", status=FlagStatus.CANARY, rollout_percentage=20)
    found = [worth(flag, FlagContext(user_id=f"u{number}")) for number in range(10_000)]
    counts = Counter(each.variant.name if each.variant else "outside" for each in found)
    assert abs(counts["canary"] - 1_000) < 120
    assert abs(counts["control"] - 1_000) < 120
    assert all(each.value is (each.variant is not None and each.variant.name == "canary") for each in found)


def test_experiments_of_one_namespace_share_nobody_and_together_have_everybody() -> None:
    first, second = (
        replace(AB_TEST, name=name, namespace=Namespace(name="answers", start=start, end=end))
        for name, start, end in (("one", 0, 30), ("two", 30, 100))
    )
    for number in range(2_000):
        context = FlagContext(user_id=f"u{number}")
        assert worth(first, context).value is not worth(second, context).value
    # sha256sum of "alice:cmo_lightrag_2025:namespace:answers" ends with 2be34b1d, at 17.14 %.
    assert (worth(first).value, worth(second).reason) == (True, FlagReason.NAMESPACE)


def test_flags_without_a_namespace_are_independent() -> None:
    """Of those in the half of one flag the half of the other holds 50 %, within four standard errors."""
    everybody = [FlagContext(user_id=f"user{number}") for number in range(10_000)]
    first = [context for context in everybody if worth(rollout(50, "one"), context).value]
    both = sum(worth(rollout(50, "two"), context).value for context in first)
    assert abs(both / len(first) - 0.5) < 4 * 0.5 / len(first) ** 0.5


@pytest.mark.parametrize(("drawn", "value"), [(0.1, True), (0.9, False)])
def test_chance_decides_each_time_where_that_is_wanted_and_nobody_has_to_be_known(drawn: float, value: bool) -> None:
    flag = rollout(50, segmentation=Segmentation.RANDOM)
    assert worth(flag, FlagContext(), chance=lambda: drawn).value is value


def test_what_is_known_of_a_person_can_be_asked_for_in_conditions() -> None:
    asked = {"and": [{"attribute": name, "equals": name} for name in ("user_id", "cohort", "region")]}
    flag = rollout(100, segments=Segments(condition=condition_from(asked)))
    assert worth(flag, FlagContext(user_id="user_id", cohort="cohort", region="region")).value
    assert not worth(flag, FlagContext(user_id="user_id", attributes={"cohort": "cohort"})).value


def test_a_flag_is_stale_when_nobody_has_changed_it_for_long_unless_it_is_meant_to_stay() -> None:
    changed = rollout(50, updated_at=NOON)
    assert not changed.is_stale(NOON + STALE_AFTER - timedelta(seconds=1))
    assert changed.is_stale(NOON + STALE_AFTER)
    assert not replace(changed, permanent=True).is_stale(NOON + STALE_AFTER)
    assert rollout(50, expires_at=NOON).is_stale(NOON)
