"""Evidence that something is worse than it may be, gathered answer by answer and valid at every moment.

Pure. An e-process: a fair game in which somebody bets, before each answer, that the average harm lies above a ceiling.
As long as it does not, whatever the game makes of a stake of 1 ever reaches 1 / alpha with probability alpha at most,
in an endless watch (Ville's inequality; Ramdas et al. 2023, doi:10.1214/23-STS894; bets on bounded means: Waudby-Smith
and Ramdas 2024, doi:10.1093/jrsssb/qkad009). Errors are harm of 0 or 1, and the bets on them are those of
`statistics.error_evidence`. Two things are different here. The game goes on from where it was left, so that it survives
restarts; and part of the stake is kept for later, so that a service that breaks after a long good time is found out.

It refuses to know what the harm is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from cmo.policy.statistics import ERROR_ODDS

BLOCK = 50
"""A fresh bet begins each time so many answers have come."""

FIRST_STAKE = 0.5
"""The share of the stake that is bet from the first answer on. Block m gets 1 / (m (m + 1)) of the rest."""

MOST = 1e200
"""Evidence beyond it is not counted any more; it would not be a finite number for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where the game stands after so many `trials`.

    `bets` are what the stakes on each of ERROR_ODDS have become; `largest`, 1 or more, is the most that all of them,
    with what is not yet staked, were worth after any one answer.
    """

    trials: int = 0
    bets: tuple[float, ...] = (0.0,) * len(ERROR_ODDS)
    largest: float = 1.0

    @property
    def value(self) -> float:
        """What a stake of 1 has become: the evidence against "at or below the ceiling", above 1 when it is against."""
        return sum(self.bets) / len(self.bets) + _unspent(self.trials)

    def after(self, harms: Iterable[float], *, ceiling: float) -> Evidence:
        """The evidence after more answers, in their order. Each harm is 0 to 1, `ceiling` lies between."""
        trials, bets, largest = self.trials, list(self.bets), self.largest
        fractions = _fractions(ceiling)
        for harm in harms:
            stake = 0.0 if trials % BLOCK else _stake(trials // BLOCK)
            apart = harm - ceiling
            bets = [(bet + stake) * (1.0 + part * apart) for bet, part in zip(bets, fractions, strict=True)]
            trials += 1
            if apart > 0:  # everything else takes from the bets
                value = sum(bets) / len(bets) + _unspent(trials)
                largest = min(max(largest, value), MOST)
                bets = [min(bet, MOST) for bet in bets]
        return Evidence(trials=trials, bets=tuple(bets), largest=largest)


def _stake(block: int) -> float:
    return (1 - FIRST_STAKE) / (block * (block + 1)) if block else FIRST_STAKE


def _unspent(trials: int) -> float:
    """What is left of the stake; the stakes of all blocks to come add up to it."""
    return (1 - FIRST_STAKE) / ((trials - 1) // BLOCK + 1) if trials else 1.0


@cache
def _fractions(ceiling: float) -> tuple[float, ...]:
    """What each bet risks per unit of harm: as much as is best when the odds of harm are so many times higher."""
    higher = [odds * ceiling / (1 - ceiling + odds * ceiling) for odds in ERROR_ODDS]
    return tuple((rate / ceiling - 1) / (1 - ceiling) for rate in higher)
