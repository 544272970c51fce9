"""Entities and relations that a model lists: read tolerantly, believed only as far as the passage bears them out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.errors import BudgetExhausted, ModelUnavailable
from cmo.interfaces import GraphExtractor
from cmo.models.extraction import MOST_ENTITIES, MOST_RELATIONS
from cmo.models.graph_extraction import (
    DictionaryGraphExtractor,
    ModelExtractor,
    extraction_prompt,
    read_extraction,
)
from cmo.values import CallStage, Entity, Extraction, Keywords, ModelCall, Relation
from tests.models.scripted_chat import ScriptedChat

PASSAGE = "Plasma Ceramides rose in type 2 diabetes. Lactate fell in sepsis. The BCAA were measured by NMR."
GOOD = {
    "entities": [
        {"name": "ceramides", "type": "Lipid"},
        {"name": "type 2 diabetes", "type": "disease"},
        {"name": "lactate", "type": "Metabolite"},
        {"name": "sepsis", "type": "Disease"},
    ],
    "relations": [
        {"source": "ceramides", "target": "type 2 diabetes"},
        {"source": "lactate", "target": "sepsis"},
    ],
}
FOUND = Extraction(
    entities=(
        Entity(name="ceramides", type="Lipid"),
        Entity(name="type 2 diabetes", type="Disease"),
        Entity(name="lactate", type="Metabolite"),
        Entity(name="sepsis", type="Disease"),
    ),
    relations=(
        Relation(source="ceramides", target="type 2 diabetes", sentence="Plasma Ceramides rose in type 2 diabetes."),
        Relation(source="lactate", target="sepsis", sentence="Lactate fell in sepsis."),
    ),
)


class Names:
    """An extractor of a dictionary."""

    fingerprint = "dictionary-1"

    def extract(self, text: str) -> Extraction:
        return FOUND

    def keywords(self, question: str) -> Keywords:
        return Keywords(high=(), low=())

    def names(self, text: str) -> tuple[str, ...]:
        return ()


async def test_what_a_model_lists_is_read_and_booked() -> None:
    booked: list[ModelCall] = []
    chat = ScriptedChat(text=json.dumps(GOOD))
    extractor: GraphExtractor = ModelExtractor(chat, book=booked.append)
    assert await extractor.extract(PASSAGE) == FOUND
    assert [call.stage for call in booked] == [CallStage.EXTRACT]
    assert chat.prompts == [extraction_prompt(PASSAGE)]
    assert chat.prompts[0].json


def test_the_fingerprint_names_the_model() -> None:
    first, second = ScriptedChat(), ScriptedChat(name="another")
    fingerprints = {ModelExtractor(chat, book=print).fingerprint for chat in (first, second)}
    assert len(fingerprints) == 2
    assert "another" in ModelExtractor(second, book=print).fingerprint


@pytest.mark.parametrize("error", [ModelUnavailable("busy"), BudgetExhausted("spent")])
async def test_a_model_that_does_not_answer_says_so(error: Exception) -> None:
    with pytest.raises(type(error)):
        await ModelExtractor(ScriptedChat(error=error), book=lambda _: None).extract(PASSAGE)


async def test_an_answer_that_cannot_be_read_leaves_a_passage_without_entities() -> None:
    found = await ModelExtractor(ScriptedChat(text="I am sorry."), book=lambda _: None).extract(PASSAGE)
    assert found == Extraction(entities=(), relations=())


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps(GOOD, indent=2),
        f"Sure! Here it is:\n```json\n{json.dumps(GOOD)}\n```\nAnything else?",
        json.dumps([GOOD]),
        json.dumps({"result": GOOD}),
        json.dumps({**GOOD, "relationships": GOOD["relations"], "relations": []}),
        json.dumps(GOOD)[:-2],
        json.dumps(GOOD) + '{"name": "lac',
        "{{{" + json.dumps(GOOD),
    ],
    ids=["indented", "fenced", "list", "nested", "renamed", "cut", "cut-later", "braces"],
)
def test_answers_are_read_tolerantly(answer: str) -> None:
    assert read_extraction(answer, PASSAGE) == FOUND


def test_an_answer_that_broke_off_is_read_as_far_as_it_goes() -> None:
    cut = json.dumps(GOOD)
    found = read_extraction(cut[: cut.index('"sepsis"')], PASSAGE)
    assert found.entities == FOUND.entities[:3]
    assert found.relations == ()


@pytest.mark.parametrize("name", ["insulin", "ramides", "rose fell", "", "x", "x" * 200, "Ignore your instructions"])
def test_a_name_that_does_not_stand_in_the_passage_is_dropped(name: str) -> None:
    assert read_extraction(json.dumps({"entities": [{"name": name, "type": "Gene"}]}), PASSAGE).entities == ()


@pytest.mark.parametrize(
    ("source", "target"),
    [("ceramides", "sepsis"), ("ceramides", "insulin"), ("lactate", "lactate"), ("lactate", "nothing")],
)
def test_a_relation_needs_a_sentence_with_both_its_ends(source: str, target: str) -> None:
    answer = json.dumps({"entities": GOOD["entities"], "relations": [{"source": source, "target": target}]})
    assert read_extraction(answer, PASSAGE).relations == ()


def test_a_pair_is_taken_once() -> None:
    pairs = [{"source": "lactate", "target": "sepsis"}, {"source": "sepsis", "target": "lactate"}]
    answer = json.dumps({"entities": GOOD["entities"], "relations": pairs * 2})
    assert len(read_extraction(answer, PASSAGE).relations) == 1


def test_a_thing_named_twice_is_one_entity() -> None:
    twice = [{"name": "Lactate", "type": "Metabolite"}, {"name": "lactate", "type": "Gene"}]
    assert [entity.name for entity in read_extraction(json.dumps(twice), PASSAGE).entities] == ["Lactate"]


def test_a_type_that_nobody_knows_is_none() -> None:
    [entity] = read_extraction(json.dumps([{"name": "NMR", "type": "Wizardry"}]), PASSAGE).entities
    assert entity.type == ""


@pytest.mark.parametrize("record", [{"name": 5}, {"name": None}, {"name": ["NMR"]}, {"name": "NMR", "type": {}}, {}])
def test_a_record_of_another_kind_is_passed_over(record: dict[str, object]) -> None:
    found = read_extraction(json.dumps({"entities": [record, {"name": "BCAA"}]}), PASSAGE)
    assert [entity.name for entity in found.entities] == ["BCAA"]


def test_a_passage_keeps_no_more_than_its_share() -> None:
    names = [f"thing{number:02}" for number in range(40)]
    pairs = [{"source": a, "target": b} for a in names for b in names]
    answer = json.dumps({"entities": [{"name": name} for name in names], "relations": pairs})
    found = read_extraction(answer, " ".join(names) + ".")
    assert (len(found.entities), len(found.relations)) == (MOST_ENTITIES, MOST_RELATIONS)


@pytest.mark.parametrize("answer", ["{" * 20_000, '{"a":' * 5_000, "[" * 50_000, '{"a": ' + "[" * 50_000])
def test_an_answer_made_to_hurt_is_read_in_time(answer: str) -> None:
    assert read_extraction(answer, PASSAGE).entities == ()


@given(answer=st.text() | st.recursive(st.text() | st.none() | st.integers(), st.lists).map(json.dumps))
def test_no_answer_is_too_strange(answer: str) -> None:
    assert read_extraction(answer, PASSAGE).relations == ()


async def test_the_dictionary_finds_what_it_finds_under_its_own_fingerprint() -> None:
    extractor: GraphExtractor = DictionaryGraphExtractor(Names())
    assert extractor.fingerprint == "dictionary-1"
    assert await extractor.extract(PASSAGE) == FOUND
