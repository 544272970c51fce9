"""Shares of thumbs, and what they can tell."""

import pytest

from cmo.policy.satisfaction import Satisfaction, wilson


def received(ups: int, downs: int) -> Satisfaction:
    return Satisfaction(
        engine="lightrag", answers=9, assessed=0, not_assessed=0, mean_quality=None, ups=ups, downs=downs
    )


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_that_of_the_literature(successes: int, trials: int, low: float, high: float) -> None:
    """Newcombe RG (1998), Stat Med 17:857-872, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E,
    table I, method 3."""
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_the_share_is_that_of_thumbs_up_and_lies_within_its_interval() -> None:
    satisfaction = received(3, 1)

    assert satisfaction.share == 0.75
    assert satisfaction.interval == pytest.approx((0.3006, 0.9544), abs=5e-5)


@pytest.mark.parametrize(("ups", "downs", "end"), [(0, 5, 0), (5, 0, 1)])
def test_an_interval_ends_at_0_and_at_1(ups: int, downs: int, end: int) -> None:
    interval = received(ups, downs).interval

    assert interval is not None
    assert interval[end] == pytest.approx(end)


def test_without_thumbs_there_is_neither() -> None:
    assert (received(0, 0).share, received(0, 0).interval) == (None, None)
