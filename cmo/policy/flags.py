"""Feature flags: what one is, and what it is worth for a person. Pure: time and chance come in as arguments.

A person's place in a flag comes from their id and a salt of the flag's own (assignment.py), so that each flag picks
other people and nobody moves when a percentage is raised. How flags are written down is told in flag_documents.py;
where they are kept is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from cmo.policy.assignment import LARGEST, bucket, number, salt_of, within
from cmo.policy.conditions import Condition, holds

MAIN_ROLLOUT = "lightrag_rollout"
"""The flag of the main rollout: its places are those of the bare salt."""

CONTROL = "control"
CANARY = "canary"

STALE_AFTER = timedelta(days=40)
"""A flag nobody has changed for so long is probably forgotten.

Unleash documentation, "Feature flag types": the expected lifetime of release and of experiment flags.
"""


class FlagStatus(StrEnum):
    """How a flag decides."""

    DISABLED = "disabled"
    ENABLED = "enabled"
    GRADUAL_ROLLOUT = "gradual_rollout"
    AB_TEST = "ab_test"
    CANARY = "canary"


EXPERIMENTS = frozenset({FlagStatus.AB_TEST, FlagStatus.CANARY})
"""Statuses that compare groups of people: everybody has to be known and to stay in their group."""


class Segmentation(StrEnum):
    """What gives a person their place: their id, always the same, or chance, each time anew."""

    HASH = "hash"
    RANDOM = "random"


class FlagReason(StrEnum):
    """Why a flag is worth what it is."""

    UNKNOWN = "unknown_flag"
    MALFORMED = "malformed"
    EXPIRED = "expired"
    DISABLED = "disabled"
    OVERRIDE = "override"
    CONDITION = "condition"
    COHORT = "cohort"
    REGION = "region"
    NO_USER_ID = "no_user_id"
    NAMESPACE = "namespace"
    ENABLED = "enabled"
    ROLLOUT = "rollout"
    AB_TEST = "ab_test"
    CANARY = "canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureVariant:
    """One of several forms a feature has. Weights are relative to each other, in thousandths at the finest."""

    name: str
    weight: float
    config_overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What holds for a cohort or region. Without a percentage that of the flag applies."""

    enabled: bool = True
    percentage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Whom a flag is for. Cohorts and regions, in small letters, that are not named are treated like everybody."""

    cohorts: Mapping[str, Share] = field(default_factory=dict)
    regions: Mapping[str, Share] = field(default_factory=dict)
    condition: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A part of the people, in percent, so that flags with other parts of the same namespace never meet anybody of it.

    The part begins after `start` and ends with `end`.
    """

    name: str
    start: float
    end: float

    def overlaps(self, other: Namespace) -> bool:
        """Whether somebody could be in both."""
        return self.name == other.name and self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFlag:
    """A feature that is on for some. Percentages are 0 to 100.

    `overrides` gives single people, by their id, a variant or simply on or off. `permanent` flags never become stale.
    With a `seed` the salt is made from that instead of the name, so that people get other places and variants.
    """

    name: str
    description: str = ""
    status: FlagStatus = FlagStatus.DISABLED
    rollout_percentage: float = 0.0
    segments: Segments = Segments()
    variants: tuple[FeatureVariant, ...] = ()
    overrides: Mapping[str, str | bool] = field(default_factory=dict)
    segmentation: Segmentation = Segmentation.HASH
    seed: str = ""
    namespace: Namespace | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    permanent: bool = False
    expires_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0

    @property
    def arms(self) -> tuple[FeatureVariant, ...]:
        """The variants people are spread over: a canary without any of its own has as many people in its control."""
        return self.variants or (_CANARY_ARMS if self.status is FlagStatus.CANARY else ())

    def variant(self, name: str) -> FeatureVariant | None:
        """The variant of that name."""
        return next((arm for arm in self.arms if arm.name == name), None)

    def has_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now

    def is_stale(self, now: datetime) -> bool:
        """Whether somebody should look whether it is still needed."""
        if self.permanent:
            return False
        return self.has_expired(now) or (self.updated_at is not None and self.updated_at + STALE_AFTER <= now)


@dataclass(frozen=True, slots=True, kw_only=True)
class MalformedFlag:
    """A flag that is written wrongly, and what is wrong with it."""

    name: str
    problem: str
    version: int = 0


AnyFlag: TypeAlias = FeatureFlag | MalformedFlag


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagSet:
    """All flags at one moment, by name. Two sets of one source with one `revision` are the same."""

    revision: str
    flags: Mapping[str, AnyFlag]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagContext:
    """Whom a flag is asked for. "" stands for unknown; conditions see all but `assigned` as attributes.

    `assigned` are the variants that the person has had in tests, by flag; they keep them when weights are changed.
    """

    user_id: str = ""
    cohort: str = ""
    region: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict)
    assigned: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_attributes(self) -> Mapping[str, object]:
        """The attributes with the person's id, cohort and region, as far as they are known."""
        known = {"user_id": self.user_id, "cohort": self.cohort, "region": self.region}
        return {**self.attributes, **{name: value for name, value in known.items() if value}}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagValue:
    """What a flag is worth for a person, and why.

    `value` is whether the feature is on, `variant` in which form. `bucket` is the person's place, 0 to 100, where it
    was looked at. `version` is the flag's.
    """

    value: bool
    reason: FlagReason
    variant: FeatureVariant | None = None
    bucket: float | None = None
    version: int = 0


def evaluate(
    flag: AnyFlag | None,
    context: FlagContext,
    *,
    salt: str,
    now: datetime,
    chance: Callable[[], float],
    default: bool = False,
) -> FlagValue:
    """What the flag is worth. `salt` is the one all flags' salts are made from, `chance` draws a number from 0 to 1.

    `default` is for flags that do not exist, and for people who would have to be known. A flag that somebody has
    switched off, or that is malformed, is off whatever the default.
    """
    if flag is None:
        return FlagValue(value=default, reason=FlagReason.UNKNOWN)
    if isinstance(flag, MalformedFlag):
        return FlagValue(value=False, reason=FlagReason.MALFORMED, version=flag.version)
    if flag.has_expired(now):
        return _off(flag, FlagReason.EXPIRED)
    if flag.status is FlagStatus.DISABLED:
        return _off(flag, FlagReason.DISABLED)
    if context.user_id and context.user_id in flag.overrides:
        return _overridden(flag, flag.overrides[context.user_id])
    if reason := _not_meant(flag.segments, context):
        return _off(flag, reason)
    return _placed(flag, context, salt=salt, chance=chance, default=default)


def _placed(
    flag: FeatureFlag, context: FlagContext, *, salt: str, chance: Callable[[], float], default: bool
) -> FlagValue:
    percentage, user_id = _percentage(flag, context), context.user_id
    if not user_id and _has_to_be_known(flag, percentage):
        return FlagValue(value=default, reason=FlagReason.NO_USER_ID, version=flag.version)
    if flag.namespace is not None and not _in_namespace(flag.namespace, user_id, salt):
        return _off(flag, FlagReason.NAMESPACE)
    place = _place(flag, user_id, salt, chance)
    inside = percentage >= 100 if place is None else within(place, percentage)
    variant = _variant_of(flag, context, salt, chance) if inside and flag.arms else None
    return FlagValue(
        value=inside and not _is_canary_control(flag, variant),
        reason=_REASONS[flag.status],
        variant=variant,
        bucket=place,
        version=flag.version,
    )


def sharing_people(flag: FeatureFlag, others: Iterable[AnyFlag]) -> str:
    """What is wrong with a namespace that lets this flag and another of these meet the same people; "" for nothing."""
    if flag.namespace is None or flag.status is FlagStatus.DISABLED:
        return ""
    for other in others:
        if not isinstance(other, FeatureFlag) or other.namespace is None or other.name == flag.name:
            continue
        if other.status is not FlagStatus.DISABLED and flag.namespace.overlaps(other.namespace):
            return (
                f'The flag "{flag.name}" shares people of the namespace "{flag.namespace.name}" with the flag '
                f'"{other.name}", which has those from {other.namespace.start:g} to {other.namespace.end:g} %.'
            )
    return ""


def flag_salt(salt: str, name: str) -> str:
    """The salt that places people in the flag of this name, or seed."""
    return salt if name == MAIN_ROLLOUT else salt_of(salt, name)


def drawn_variant(variants: Sequence[FeatureVariant], drawn: int) -> FeatureVariant:
    """The variant that the number belongs to, 0 to LARGEST, each having a part as large as its weight.

    The borders are whole numbers, exact to one in LARGEST: raising the last variant's weight moves nobody out of it.
    """
    weights = [thousandths(variant.weight) for variant in variants]
    whole, upto = sum(weights), 0
    for variant, weight in zip(variants, weights, strict=True):
        upto += weight
        if weight and drawn * whole <= upto * LARGEST:
            return variant
    raise AssertionError("the last border is the largest number")


def thousandths(weight: float) -> int:
    """A weight as a whole number."""
    return round(weight * 1_000)


def _off(flag: FeatureFlag, reason: FlagReason) -> FlagValue:
    return FlagValue(value=False, reason=reason, version=flag.version)


def _overridden(flag: FeatureFlag, given: str | bool) -> FlagValue:
    variant = flag.variant(given) if isinstance(given, str) else None
    on = given if isinstance(given, bool) else not _is_canary_control(flag, variant)
    return FlagValue(value=on, reason=FlagReason.OVERRIDE, variant=variant, version=flag.version)


def _not_meant(segments: Segments, context: FlagContext) -> FlagReason | None:
    """Why the flag is not for this person, or None when it is."""
    if segments.condition is not None and not holds(segments.condition, context.all_attributes):
        return FlagReason.CONDITION
    cohort = segments.cohorts.get(context.cohort.casefold())
    if cohort is not None and not cohort.enabled:
        return FlagReason.COHORT
    region = segments.regions.get(context.region.casefold())
    return FlagReason.REGION if region is not None and not region.enabled else None


def _percentage(flag: FeatureFlag, context: FlagContext) -> float:
    """The share of people like this one; where cohort and region both say one, the smaller."""
    shares = (
        flag.segments.cohorts.get(context.cohort.casefold()),
        flag.segments.regions.get(context.region.casefold()),
    )
    own = [share.percentage for share in shares if share is not None and share.percentage is not None]
    if own:
        return min(own)
    return 100.0 if flag.status is FlagStatus.ENABLED else flag.rollout_percentage


def _has_to_be_known(flag: FeatureFlag, percentage: float) -> bool:
    if flag.status in EXPERIMENTS or flag.namespace is not None:
        return True
    return flag.segmentation is Segmentation.HASH and (0 < percentage < 100 or bool(flag.arms))


def _in_namespace(namespace: Namespace, user_id: str, salt: str) -> bool:
    place = bucket(user_id, salt_of(salt, f"namespace:{namespace.name}"))
    return within(place, namespace.end) and not within(place, namespace.start)


def _place(flag: FeatureFlag, user_id: str, salt: str, chance: Callable[[], float]) -> float | None:
    if flag.segmentation is Segmentation.RANDOM:
        return chance() * 100
    return bucket(user_id, flag_salt(salt, flag.seed or flag.name)) if user_id else None


def _variant_of(flag: FeatureFlag, context: FlagContext, salt: str, chance: Callable[[], float]) -> FeatureVariant:
    """The person's variant: in a test the one they have had, as long as there is it, else one that is drawn.

    It is drawn apart from their place, so that raising the percentage changes nobody's variant.
    """
    if flag.status is FlagStatus.AB_TEST and (had := flag.variant(context.assigned.get(flag.name, ""))):
        return had
    if flag.segmentation is Segmentation.RANDOM:
        return drawn_variant(flag.arms, int(chance() * LARGEST))
    return drawn_variant(flag.arms, number(context.user_id, salt_of(salt, f"variant:{flag.seed or flag.name}")))


def _is_canary_control(flag: FeatureFlag, variant: FeatureVariant | None) -> bool:
    return flag.status is FlagStatus.CANARY and variant is not None and variant.name == CONTROL


_CANARY_ARMS = (FeatureVariant(name=CONTROL, weight=50.0), FeatureVariant(name=CANARY, weight=50.0))

_REASONS = MappingProxyType(
    {
        FlagStatus.ENABLED: FlagReason.ENABLED,
        FlagStatus.GRADUAL_ROLLOUT: FlagReason.ROLLOUT,
        FlagStatus.AB_TEST: FlagReason.AB_TEST,
        FlagStatus.CANARY: FlagReason.CANARY,
    }
)
"""Why somebody is in or out who was not decided on before."""
