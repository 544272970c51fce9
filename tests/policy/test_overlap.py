"""How much two answers say in the same words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.policy.overlap import overlap

WORDS = st.frozensets(st.sampled_from("lactate rose sepsis fell glycine plasma".split()))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"lactate", "rise"}, {"lactate", "rise"}, 1.0),
        ({"lactate", "rise"}, {"glycine", "fall"}, 0.0),
        ({"lactate", "rise", "sepsi"}, {"lactate"}, 0.5),
        ({"lactate"}, set(), 0.0),
    ],
)
def test_it_is_twice_the_shared_words_over_all(first: set[str], second: set[str], expected: float) -> None:
    assert overlap(first, second) == expected


def test_texts_without_words_have_none() -> None:
    assert overlap(frozenset(), frozenset()) is None


@given(WORDS, WORDS)
def test_it_lies_between_0_and_1_and_is_the_same_both_ways(first: frozenset[str], second: frozenset[str]) -> None:
    found = overlap(first, second)

    assert found == overlap(second, first)
    assert found is None or (0 <= found <= 1 and (found == 1) == (first == second))
