"""How an engine's answers were received: what people thought of them, and how good they were found to be.

Pure: the sums come from the records. It refuses to compare engines, which were not asked the same questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

Z_95 = 1.959964
"""The standard normal quantile of a two-sided interval of 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Satisfaction:
    """The sums of one engine's answers. `ups` and `downs` are the thumbs people gave.

    `assessed` of the `answers` have a quality, whose mean is `mean_quality`, 0 to 1 (None for none); `not_assessed` are
    those where assessing failed. The others had nothing to assess.
    """

    engine: str
    answers: int
    assessed: int
    not_assessed: int
    mean_quality: float | None
    ups: int
    downs: int

    @property
    def share(self) -> float | None:
        """The share of thumbs up, 0 to 1; None without any."""
        thumbs = self.ups + self.downs
        return self.ups / thumbs if thumbs else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Between what the share lies among all who might have said something, with 95 % confidence."""
        thumbs = self.ups + self.downs
        return wilson(self.ups, thumbs) if thumbs else None


def wilson(successes: int, trials: int, *, z: float = Z_95) -> tuple[float, float]:
    """The score interval of a share, which keeps its promise for few trials and at 0 and 1, too.

    Wilson EB (1927), J Am Stat Assoc 22:209-212, doi:10.1080/01621459.1927.10502953.
    """
    share, spread = successes / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, centre - half), min(1.0, centre + half)
