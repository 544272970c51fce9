"""Our flags behind OpenFeature, the vendor-neutral interface to feature flags (https://openfeature.dev/specification).

    openfeature.api.set_provider(FlagProvider(flags))
    openfeature.api.get_client().get_boolean_value("new_ranking", False, EvaluationContext("user123"))

A boolean is whether the feature is on. A text is the variant's name; where the variant's overrides have a "value", it
is that, as are numbers. An object is all of the variant's overrides. The parameters of all methods have the names of
the specification, by which the SDK passes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, ParseError, TargetingKeyMissingError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from cmo.dispatch.flags import NOBODY, Flags
from cmo.policy.flags import FeatureFlag, FlagContext, FlagReason, FlagValue

T = TypeVar("T")

_REASONS: Mapping[FlagReason, Reason] = MappingProxyType(
    {
        FlagReason.MALFORMED: Reason.ERROR,
        FlagReason.EXPIRED: Reason.DISABLED,
        FlagReason.DISABLED: Reason.DISABLED,
        FlagReason.OVERRIDE: Reason.TARGETING_MATCH,
        FlagReason.CONDITION: Reason.DEFAULT,
        FlagReason.COHORT: Reason.DEFAULT,
        FlagReason.REGION: Reason.DEFAULT,
        FlagReason.NAMESPACE: Reason.SPLIT,
        FlagReason.ENABLED: Reason.STATIC,
        FlagReason.ROLLOUT: Reason.SPLIT,
        FlagReason.AB_TEST: Reason.SPLIT,
        FlagReason.CANARY: Reason.SPLIT,
    }
)


class FlagProvider(AbstractProvider):
    """Answers OpenFeature's questions from the flags of this process, without I/O."""

    def __init__(self, flags: Flags) -> None:
        super().__init__()
        self._flags = flags

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="cmo")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Whether the feature is on. A flag that is malformed or switched off is off whatever the default."""
        found = self._evaluated(flag_key, evaluation_context)
        return self._details(flag_key, found, found.value)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """The variant's value, else its name; the default where the feature is off."""
        return self._of_variant(flag_key, default_value, evaluation_context, str)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """The variant's value; the default where the feature is off."""
        return self._of_variant(flag_key, default_value, evaluation_context, int)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """The variant's value; the default where the feature is off."""
        return self._of_variant(flag_key, default_value, evaluation_context, float)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """The variant's overrides; the default where the feature is off."""
        found = self._well_formed(flag_key, evaluation_context)
        if found.variant is None:
            return self._details(flag_key, found, _default(found, default_value))
        return self._details(flag_key, found, dict(found.variant.config_overrides))

    def _of_variant(
        self, flag_key: str, default_value: T, evaluation_context: EvaluationContext | None, kind: type[T]
    ) -> FlagResolutionDetails[T]:
        found = self._well_formed(flag_key, evaluation_context)
        if found.variant is None:
            return self._details(flag_key, found, _default(found, default_value))
        name = found.variant.name
        value = found.variant.config_overrides.get("value", name if kind is str else None)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)  # JSON knows one kind of number
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeMismatchError(f'The variant "{name}" of "{flag_key}" has no value of type {kind.__name__}.')
        return self._details(flag_key, found, value)

    def _well_formed(self, flag_key: str, evaluation_context: EvaluationContext | None) -> FlagValue:
        found = self._evaluated(flag_key, evaluation_context)
        if found.reason is FlagReason.MALFORMED:
            raise ParseError(f'The flag "{flag_key}" is malformed.')
        return found

    def _evaluated(self, flag_key: str, evaluation_context: EvaluationContext | None) -> FlagValue:
        found = self._flags.evaluate(flag_key, _context(evaluation_context))
        if found.reason is FlagReason.UNKNOWN:
            raise FlagNotFoundError(f'There is no flag "{flag_key}".')
        if found.reason is FlagReason.NO_USER_ID:
            raise TargetingKeyMissingError(f'The flag "{flag_key}" asks for a targeting key.')
        return found

    def _details(self, flag_key: str, found: FlagValue, value: T) -> FlagResolutionDetails[T]:
        return FlagResolutionDetails(
            value=value,
            reason=Reason.TARGETING_MATCH if self._is_by_condition(flag_key, found) else _REASONS[found.reason],
            variant=found.variant.name if found.variant else None,
            flag_metadata={"reason": found.reason.value, "version": found.version},
        )

    def _is_by_condition(self, flag_key: str, found: FlagValue) -> bool:
        """Whether the feature is on for people who meet a condition, and this is one of them."""
        flag = self._flags.snapshot.flags.get(flag_key)
        meets = isinstance(flag, FeatureFlag) and flag.segments.condition is not None
        return meets and found.reason is FlagReason.ENABLED


def _context(given: EvaluationContext | None) -> FlagContext:
    if given is None:
        return NOBODY
    cohort, region = (given.attributes.get(name) for name in ("cohort", "region"))
    return FlagContext(
        user_id=given.targeting_key or "",
        cohort=cohort if isinstance(cohort, str) else "",
        region=region if isinstance(region, str) else "",
        attributes=given.attributes,
    )


def _default(found: FlagValue, default_value: T) -> T:
    """The default for a feature that is off; one that is on has to have a variant to answer with."""
    if found.value:
        raise TypeMismatchError("The flag is on or off and has no variants: ask for a boolean.")
    return default_value
