import pytest

from cmo.interfaces import Extractor
from cmo.library.lexicon import open_lexicon
from cmo.models.extraction import MOST_ENTITIES, MOST_RELATIONS, MOST_SYNONYMS, DictionaryExtractor


@pytest.fixture(scope="session")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> DictionaryExtractor:
    # The folder that tests/library/test_lexicon.py uses too: the dictionary is built once in a run.
    return DictionaryExtractor(open_lexicon(tmp_path_factory.getbasetemp() / "lexicon"))


def _names(extractor: Extractor, text: str) -> list[str]:
    return [entity.name for entity in extractor.extract(text).entities]


def test_it_is_an_extractor(extractor: DictionaryExtractor) -> None:
    plug: Extractor = extractor
    assert plug.fingerprint.startswith("dictionary-")


def test_the_same_text_gives_the_same_extraction(extractor: DictionaryExtractor) -> None:
    text = "Leucine, isoleucine and valine predict type 2 diabetes."
    assert extractor.extract(text) == extractor.extract(text)


@pytest.mark.parametrize(
    "text",
    [
        "Trimethylamine N-oxide rose.",
        "TMAO rose.",
        "Trimethylamine-N-oxide\nrose.",
        "TMAO (trimethylamine N-oxide) rose; TMAO was high.",
    ],
)
def test_all_spellings_are_one_entity(extractor: DictionaryExtractor, text: str) -> None:
    assert _names(extractor, text) == ["trimethylamine N-oxide"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("PC 34:1", "PC 34:1"),
        ("PC(34:1)", "PC 34:1"),
        ("PC aa C34:1", "PC 34:1"),
        ("lysoPC 18:0", "LPC 18:0"),
        ("TAG 54:3", "TG 54:3"),
        ("PE(16:0/20:4)", "PE 16:0/20:4"),
        ("C16-carnitine", "CAR 16"),
        ("C18:1 carnitine", "CAR 18:1"),
    ],
)
def test_lipid_shorthand_has_one_spelling(extractor: DictionaryExtractor, written: str, name: str) -> None:
    assert _names(extractor, f"The level of {written} fell.") == [name]


@pytest.mark.parametrize("text", ["a ratio of 34:1", "at 10:30 on PC 2", "SM et al. 2012; 34:1-9"])
def test_ratios_and_times_are_no_lipids(extractor: DictionaryExtractor, text: str) -> None:
    assert _names(extractor, text) == []


def test_what_the_document_defines_comes_before_the_lists(extractor: DictionaryExtractor) -> None:
    text = "Coronary artery disease (CAD) is common. CAD kills."
    assert _names(extractor, text) == ["coronary artery disease"]
    assert _names(extractor, "Computer-aided design (CAD) is common. CAD helps.") == []


def test_abbreviations_of_page_one_hold_on_page_seven(extractor: DictionaryExtractor) -> None:
    here = "NA reached the highest level after an hour."
    assert _names(extractor, here) == []
    assert _names(extractor.for_document("We gave naringin (NA) to rats."), here) == ["naringin"]
    given = DictionaryExtractor(extractor.lexicon, abbreviations={"NA": "naringin"})
    assert _names(given, here) == ["naringin"]


@pytest.mark.parametrize(
    "text",
    [
        "The insulin-like peptide was new.",
        "Glutamate carboxylyase-binding was absent",
        "2-methyl-glucose was absent",
        "The gold standard was used.",
        "Blood pressure fell.",
        "A lead author set the can on the table.",
    ],
)
def test_parts_of_other_names_and_ordinary_words_are_left_out(extractor: DictionaryExtractor, text: str) -> None:
    assert _names(extractor, text) == []


def test_a_metal_that_names_a_salt_is_left_out(extractor: DictionaryExtractor) -> None:
    assert _names(extractor, "They inhaled sodium heparin.") == ["heparin"]


def test_neighbours_in_a_sentence_are_related_with_the_sentence(extractor: DictionaryExtractor) -> None:
    text = "Leucine predicted obesity. Cortisol did not."
    (relation,) = extractor.extract(text).relations
    assert (relation.source, relation.target) == ("leucine", "obesity")
    assert relation.sentence == "Leucine predicted obesity."


def test_nothing_is_related_to_itself_or_twice(extractor: DictionaryExtractor) -> None:
    text = "TMAO and trimethylamine N-oxide. Leucine with obesity. Obesity with leucine."
    assert len(extractor.extract(text).relations) == 1


def test_a_passage_gives_a_bounded_number(extractor: DictionaryExtractor) -> None:
    text = ", ".join(f"PC 3{n}:{m}" for n in range(10) for m in range(5))
    extraction = extractor.extract(f"Measured were {text}.")
    assert len(extraction.entities) == MOST_ENTITIES
    assert len(extraction.relations) <= MOST_RELATIONS
    kept = {entity.name for entity in extraction.entities}
    assert all({relation.source, relation.target} <= kept for relation in extraction.relations)


def test_mentions_say_where_they_stand(extractor: DictionaryExtractor) -> None:
    text = "Serum β-carotene, uric acid."
    assert [text[m.start : m.end] for m in extractor.mentions(text)] == ["Serum", "β-carotene", "uric acid"]


def test_names_are_the_things_a_question_is_about_in_order(extractor: DictionaryExtractor) -> None:
    assert extractor.names("Is T2DM tied to plasma TMAO, or TMAO to type 2 diabetes?") == (
        "type 2 diabetes",
        "trimethylamine N-oxide",
    )
    assert extractor.names("And what about plasma by LC-MS?") == ()


def test_an_abbreviation_can_be_the_last_word(extractor: DictionaryExtractor) -> None:
    known = extractor.for_document("Interleukin 6 (IL-6) and coronary artery disease (CAD) were measured.")
    assert [mention.entity.name for mention in known.mentions("They had CAD")] == ["coronary artery disease"]
    assert [mention.entity.name for mention in known.mentions("It is IL-6")] == ["interleukin-6"]


def test_keywords_name_things_as_written_and_as_known(extractor: DictionaryExtractor) -> None:
    keywords = extractor.keywords("Does TMAO raise the risk of heart attack?")
    assert {"TMAO", "trimethylamine N-oxide", "heart attack", "myocardial infarction"} <= set(keywords.low)
    assert "risk" in keywords.high


def test_unknown_abbreviations_are_keywords(extractor: DictionaryExtractor) -> None:
    assert "XQZT9" in extractor.keywords("What does XQZT9 do?").low


@pytest.mark.parametrize(
    "question",
    [
        "Why?",
        "?",
        "what is it",
        "Why do people get old?",
        "糖尿病的生物标志物是什么？",
        "Wie hoch war er?",
        "Что это",
    ],
)
def test_every_question_has_keywords(extractor: DictionaryExtractor, question: str) -> None:
    keywords = extractor.keywords(question)
    assert keywords.high
    assert keywords.low


def test_a_question_in_another_language_keeps_its_content_words(extractor: DictionaryExtractor) -> None:
    words = " ".join(extractor.keywords("Quels métabolites sont associés à la naringine ?").high)
    assert "métabolites" in words
    assert "sont" not in words.split()


def test_synonyms_widen_a_question(extractor: DictionaryExtractor) -> None:
    assert "ascorbic acid" in extractor.synonyms("Is vitamin C safe?")
    assert "trimethylamine N-oxide" in extractor.synonyms("Is TMAO safe?")
    assert "TMAO" in extractor.synonyms("Is trimethylamine N-oxide safe?")
    assert {"leucine", "isoleucine", "valine"} <= set(extractor.synonyms("BCAA and fasting"))


def test_synonyms_are_bounded_and_fair(extractor: DictionaryExtractor) -> None:
    names = "glucose, vitamin C, TMAO, BCAA, DHA, T2DM, cortisol, palmitate, uric acid and triglyceride"
    found = extractor.synonyms(f"Compare {names}.")
    assert len(found) == MOST_SYNONYMS
    assert any("diabetes" in name for name in found)


def test_an_unknown_name_has_no_variants(extractor: DictionaryExtractor) -> None:
    assert extractor.variants("nonsense") == ()
    assert extractor.synonyms("") == ()
    assert extractor.extract("").entities == ()
