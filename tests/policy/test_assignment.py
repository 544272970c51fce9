import math
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.policy.assignment import bucket, is_assigned, salt_of, within

SALT = "cmo_lightrag_2025"

people = st.text(max_size=40)
salts = st.text(max_size=40)
shares = st.floats(min_value=0, max_value=100)


@pytest.mark.parametrize(
    ("user_id", "place"),
    [("user123", 38.9368344422), ("alice", 90.7413997200), ("0", 45.4414205499), ("", 17.3537340056)],
)
def test_places_are_those_of_the_documents(user_id: str, place: float) -> None:
    assert bucket(user_id, SALT) == pytest.approx(place, abs=5e-11)


# Last eight digits by sha256sum of GNU coreutils 9.1, of "USER:cmo_lightrag_2025" in UTF-8.
@pytest.mark.parametrize(
    ("user_id", "digits"),
    [("user123", "63ada4d1"), ("bob", "8b03c5d8"), ("Zoë", "a23229b3"), ("a:b", "7740cac3")],
)
def test_places_are_what_another_program_computes(user_id: str, digits: str) -> None:
    assert bucket(user_id, SALT) == int(digits, 16) / 0xFFFFFFFF * 100


def test_places_are_the_same_in_every_process() -> None:
    program = "import sys; from cmo.policy.assignment import bucket; print(bucket(sys.argv[1], sys.argv[2]).hex())"
    places = {
        subprocess.run(
            [sys.executable, "-c", program, "Zoë", SALT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("0", "1", "4711")
    }
    assert places == {bucket("Zoë", SALT).hex()}


@given(people, salts)
def test_a_place_is_stable_and_from_0_to_100(user_id: str, salt: str) -> None:
    assert 0 <= bucket(user_id, salt) <= 100
    assert bucket(user_id, salt) == bucket(user_id, salt)


@given(people, salts)
def test_zero_percent_is_nobody_and_a_hundred_is_everybody(user_id: str, salt: str) -> None:
    assert not is_assigned(user_id, salt, 0)
    assert is_assigned(user_id, salt, 100)


def test_the_two_guards_hold_at_the_ends() -> None:
    assert not within(0.0, 0)
    assert within(100.0, 100)
    assert within(math.nextafter(100.0, 101.0), 100)
    assert not within(100.0, 99.99999999)


def test_a_place_on_the_border_belongs_to_the_share() -> None:
    assert within(30.0, 30.0)


@given(people, salts, shares, shares)
def test_raising_the_share_moves_nobody_out(user_id: str, salt: str, one: float, other: float) -> None:
    assert is_assigned(user_id, salt, max(one, other)) or not is_assigned(user_id, salt, min(one, other))


def test_an_identity_with_half_a_character_has_a_place() -> None:
    assert 0 <= bucket("\ud800", SALT) <= 100


def test_the_salt_of_a_flag_is_derived_from_its_name() -> None:
    assert salt_of(SALT, "citations") != salt_of(SALT, "analytics")
    assert salt_of(SALT, "citations") != SALT


def test_people_are_spread_evenly() -> None:
    """Chi-square over 20 cells: 43.8 is its 99.9th percentile at 19 degrees of freedom."""
    counts = [0] * 20
    for number in range(20_000):
        counts[min(int(bucket(f"user{number}", SALT) / 5), 19)] += 1
    assert sum((count - 1_000) ** 2 / 1_000 for count in counts) < 43.8


def test_flags_pick_people_independently_of_each_other() -> None:
    """Of 10 000 people in the half of one flag, the half of the other holds 50 %, within four standard errors."""
    chance = random.Random(7)
    everybody = [f"{chance.getrandbits(64):x}" for _ in range(20_000)]
    first = [user for user in everybody if is_assigned(user, salt_of(SALT, "citations"), 50)]
    for other in (salt_of(SALT, "analytics"), SALT):
        both = sum(is_assigned(user, other, 50) for user in first)
        assert abs(both / len(first) - 0.5) < 4 * 0.5 / len(first) ** 0.5
