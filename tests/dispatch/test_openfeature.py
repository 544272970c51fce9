"""The behaviours of OpenFeature's specification (its evaluation.feature) that a provider is answerable for."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason
from openfeature.provider import FeatureProvider

from cmo.dispatch.flags import Flags
from cmo.dispatch.openfeature import FlagProvider
from cmo.policy.flag_documents import flag_from
from cmo.policy.flags import MalformedFlag
from tests.dispatch.test_flags import Clock, Source

CUSTOMER = EvaluationContext("alice", {"cohort": "beta", "region": "europe", "fn": "Sulisław", "age": 29})
TEMPLATE = {"showImages": True, "title": "Check out these pics!", "imagesPerPage": 100}


def one_variant(name: str, **overrides: object) -> dict[str, Any]:
    return {"status": "enabled", "variants": [{"name": name, "weight": 1, "config_overrides": overrides}]}


DOCUMENTS: dict[str, dict[str, Any]] = {
    "boolean-flag": {"status": "enabled"},
    "disabled-flag": {},
    "string-flag": one_variant("greeting", value="hi"),
    "named-flag": one_variant("greeting"),
    "integer-flag": one_variant("ten", value=10),
    "float-flag": one_variant("half", value=0.5),
    "object-flag": one_variant("template", **TEMPLATE),
    "rollout": {"status": "gradual_rollout", "rollout_percentage": 50},
    "context-aware": {
        **one_variant("internal", value="INTERNAL"),
        "segments": {
            "condition": {"and": [{"attribute": "fn", "equals": "Sulisław"}, {"attribute": "age", "below": 30}]}
        },
    },
    "beta": {"status": "enabled", "segments": {"cohorts": {"beta": {"enabled": False}}}},
}


@pytest.fixture
async def client() -> AsyncIterator[OpenFeatureClient]:
    found = [flag_from(name, document) for name, document in DOCUMENTS.items()]
    flags = Flags(
        Source(*found, MalformedFlag(name="broken", problem="?")), salt="s", clock=Clock(), chance=lambda: 0.5
    )
    await flags.refresh()
    api.set_provider(FlagProvider(flags))
    yield api.get_client()
    api.clear_providers()


@pytest.mark.parametrize("kind", ["boolean", "string", "integer", "float", "object"])
def test_parameters_have_the_names_by_which_the_sdk_passes_them(kind: str) -> None:
    """With others every call would quietly return the default."""
    method = f"resolve_{kind}_details"
    wanted = list(inspect.signature(getattr(FeatureProvider, method)).parameters)
    assert list(inspect.signature(getattr(FlagProvider, method)).parameters) == wanted
    assert wanted == ["self", "flag_key", "default_value", "evaluation_context"]


async def test_values_of_every_type_are_resolved(client: OpenFeatureClient) -> None:
    assert client.get_boolean_value("boolean-flag", False, CUSTOMER) is True
    assert client.get_string_value("string-flag", "bye", CUSTOMER) == "hi"
    assert client.get_string_value("named-flag", "bye", CUSTOMER) == "greeting"
    assert client.get_integer_value("integer-flag", 1, CUSTOMER) == 10
    assert client.get_float_value("float-flag", 0.1, CUSTOMER) == 0.5
    assert client.get_float_value("integer-flag", 0.1, CUSTOMER) == 10.0
    assert client.get_object_value("object-flag", {}, CUSTOMER) == TEMPLATE


async def test_values_are_resolved_in_coroutines_too_each_for_its_own_person(client: OpenFeatureClient) -> None:
    people = [EvaluationContext(f"user{number}") for number in range(200)]
    at_once = await asyncio.gather(*(client.get_boolean_value_async("rollout", False, person) for person in people))
    assert at_once == [client.get_boolean_value("rollout", False, person) for person in people]
    assert 60 < sum(at_once) < 140


async def test_details_tell_variant_reason_and_version(client: OpenFeatureClient) -> None:
    details = client.get_string_details("string-flag", "bye", CUSTOMER)
    assert (details.flag_key, details.value, details.variant, details.error_code) == (
        "string-flag",
        "hi",
        "greeting",
        None,
    )
    assert details.reason == Reason.STATIC
    assert details.flag_metadata == {"reason": "enabled", "version": 0}
    assert client.get_boolean_details("rollout", False, CUSTOMER).reason == Reason.SPLIT


async def test_the_context_decides(client: OpenFeatureClient) -> None:
    details = client.get_string_details("context-aware", "EXTERNAL", CUSTOMER)
    assert (details.value, details.reason) == ("INTERNAL", Reason.TARGETING_MATCH)
    for other in ({"fn": "Sulisław", "age": 30}, {"fn": "", "age": 1}, {}):
        details = client.get_string_details("context-aware", "EXTERNAL", EvaluationContext("alice", other))
        assert (details.value, details.reason) == ("EXTERNAL", Reason.DEFAULT)
    assert client.get_boolean_value("beta", True, CUSTOMER) is False
    assert client.get_boolean_value("beta", False, EvaluationContext("alice")) is True


def failed(details: FlagEvaluationDetails[Any]) -> tuple[object, ErrorCode | None, object]:
    return details.value, details.error_code, details.reason


async def test_a_flag_that_does_not_exist_is_the_default_and_an_error(client: OpenFeatureClient) -> None:
    details = client.get_string_details("missing-flag", "uh-oh", CUSTOMER)
    assert failed(details) == ("uh-oh", ErrorCode.FLAG_NOT_FOUND, Reason.ERROR)
    assert "missing-flag" in (details.error_message or "")


async def test_a_value_of_another_type_is_the_default_and_an_error(client: OpenFeatureClient) -> None:
    for details in (
        client.get_integer_details("string-flag", 13, CUSTOMER),
        client.get_integer_details("float-flag", 13, CUSTOMER),
        client.get_integer_details("boolean-flag", 13, CUSTOMER),
    ):
        assert failed(details) == (13, ErrorCode.TYPE_MISMATCH, Reason.ERROR)


async def test_without_a_targeting_key_who_has_to_be_known_gets_the_default(client: OpenFeatureClient) -> None:
    assert failed(client.get_boolean_details("rollout", True)) == (True, ErrorCode.TARGETING_KEY_MISSING, Reason.ERROR)
    assert client.get_boolean_value("boolean-flag", False) is True


async def test_what_is_off_or_malformed_is_off_whatever_the_default(client: OpenFeatureClient) -> None:
    details = client.get_boolean_details("disabled-flag", True, CUSTOMER)
    assert (details.value, details.reason, details.error_code) == (False, Reason.DISABLED, None)
    details = client.get_boolean_details("broken", True, CUSTOMER)
    assert (details.value, details.reason) == (False, Reason.ERROR)
    assert failed(client.get_string_details("broken", "safe", CUSTOMER)) == (
        "safe",
        ErrorCode.PARSE_ERROR,
        Reason.ERROR,
    )
    assert client.get_string_details("disabled-flag", "safe", CUSTOMER).value == "safe"
    assert client.get_object_value("disabled-flag", {"safe": True}, CUSTOMER) == {"safe": True}


async def test_the_provider_has_a_name(client: OpenFeatureClient) -> None:
    assert client.provider.get_metadata().name == "cmo"
