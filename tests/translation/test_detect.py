"""The language of a question: whole sentences, a few words, English full of chemical names."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import mean, median

import pytest

from cmo.translation.detect import LANGUAGES, SUPPORTED, LanguageDetector

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    return LanguageDetector()


def _development_rows(name: str) -> list[dict[str, str]]:
    file = SHARED / "evals" / name
    if not file.exists():
        pytest.skip(f"the development rows {name} are not on this machine")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").strip().split("\n")]


def _accuracy(detector: LanguageDetector, rows: list[dict[str, str]]) -> float:
    return sum(detector.detect(row["text"]) == row["lang"] for row in rows) / len(rows)


@pytest.mark.parametrize(
    ("language", "question"),
    [
        ("ar", "ما هو تركيز الجلوكوز في البلازما؟"),
        ("de", "Wie hoch ist die Konzentration von Citrullin im Plasma?"),
        ("es", "¿Cuál es la concentración de leptina en la leche materna?"),
        ("fr", "Quelle est la demi-vie de la caféine chez la femme enceinte ?"),
        ("it", "Quanti pazienti hanno partecipato allo studio?"),
        ("ja", "血漿中のロイシン濃度はどのくらいですか？"),
        ("ko", "혈장의 류신 농도는 얼마입니까?"),
        ("nl", "Hoeveel deelnemers werden uitgesloten?"),
        ("pl", "Jakie jest stężenie kreatyniny w moczu?"),
        ("pt", "Quais são as limitações deste estudo?"),
        ("ru", "Какова концентрация креатинина в моче?"),
        ("sv", "Hur många deltagare uteslöts ur studien?"),
        ("tr", "İdrardaki kreatinin düzeyi nedir?"),
        ("zh", "2型糖尿病患者血浆中的亮氨酸浓度是多少？"),
    ],
)
def test_a_question_is_of_its_language(detector: LanguageDetector, language: str, question: str) -> None:
    assert detector.detect(question) == language


@pytest.mark.parametrize(
    "question",
    [
        "Does N-acetylcysteine alter S-adenosyl-L-methionine in 3T3-L1 cells?",
        "Is lysophosphatidylcholine (18:2) lower in patients with sepsis?",
        "What is the role of trans-3-hydroxycotinine glucuronide?",
    ],
)
def test_english_full_of_chemical_names_is_english(detector: LanguageDetector, question: str) -> None:
    assert detector.detect(question) == "en"


@pytest.mark.parametrize("keywords", ["plasma leptin anorexia", "uric acid", "vitamin D deficiency", "limitations"])
def test_a_few_english_terms_are_english(detector: LanguageDetector, keywords: str) -> None:
    assert detector.detect(keywords) == "en"


@pytest.mark.parametrize("text", ["", "?", "12.5", "HMDB0000122", "C16:0"])
def test_text_without_words_counts_as_english(detector: LanguageDetector, text: str) -> None:
    assert detector.detect(text) == "en"


@pytest.mark.parametrize(
    ("language", "term"),
    [("de", "Stichprobengröße"), ("es", "tamaño muestral"), ("fr", "acide urique"), ("pl", "kwas moczowy")],
)
def test_a_foreign_term_alone_is_not_english(detector: LanguageDetector, language: str, term: str) -> None:
    assert detector.detect(term) == language


def test_the_answer_is_always_one_of_the_languages(detector: LanguageDetector) -> None:
    assert {detector.detect(text) for text in ("ψ", "lorem ipsum", "ไทย", "12 mg/L", "שלום")} <= set(LANGUAGES)


def test_sentences_are_told_apart(detector: LanguageDetector) -> None:
    rows = [row for row in _development_rows("langid_dev.jsonl") if row["kind"] == "sentence"]
    assert _accuracy(detector, rows) >= 0.99


def test_two_words_are_mostly_enough(detector: LanguageDetector) -> None:
    rows = [row for row in _development_rows("langid_dev.jsonl") if row["kind"] == "word_pair"]
    assert _accuracy(detector, rows) >= 0.90


def test_no_english_biomedical_question_is_taken_for_foreign(detector: LanguageDetector) -> None:
    rows = _development_rows("pubmedqa_dev.jsonl")
    assert [row["question"] for row in rows if detector.detect(row["question"]) != "en"] == []


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("Was ist klinische Metabolomik?", "de"),
        ("Was war das Ziel in der Studie?", "de"),
        ("Wat is het doel van de studie?", "nl"),
        ("Was in plasma measured?", "en"),
        ("What is it?", "en"),
    ],
)
def test_words_that_two_languages_share_do_not_make_a_question_english(question: str, language: str) -> None:
    assert LanguageDetector().detect(question) == language


def test_the_languages_questions_are_asked_in_are_supported() -> None:
    assert set("en es fr de pt it nl pl tr ru ar hi zh ja ko".split()) <= set(SUPPORTED) < set(LANGUAGES)


def test_a_rarer_neighbour_is_named_only_when_the_text_is_clearly_its_own(detector: LanguageDetector) -> None:
    assert detector.detect("Завтра еду домой, на мою любимую Родину.") == "ru"
    assert detector.detect("Яка концентрація глюкози в плазмі крові?") == "uk"


@pytest.mark.parametrize("text", ["hi", "ok", "TMAO", "trimethylamine N-oxide"])
def test_what_says_little_of_its_language_is_english(detector: LanguageDetector, text: str) -> None:
    assert detector.detect(text) == "en"


@pytest.mark.parametrize("text", ["", "?", "12.5", "HMDB0000122"])
def test_text_without_words_has_no_confidence(detector: LanguageDetector, text: str) -> None:
    assert detector.identify(text).confidence == 0


def test_a_sentence_is_surer_than_a_word(detector: LanguageDetector) -> None:
    word = detector.identify("Harnsäure")
    sentence = detector.identify("Wie hoch ist die Harnsäure im Plasma von Menschen mit Gicht?")

    assert (word.language, sentence.language) == ("de", "de")
    assert 0 < word.confidence < 0.9 < sentence.confidence <= 1


@pytest.mark.parametrize(("kind", "gap"), [("sentence", 0.01), ("word_pair", 0.1)])
def test_the_confidence_is_about_the_share_that_is_right(detector: LanguageDetector, kind: str, gap: float) -> None:
    rows = [row for row in _development_rows("langid_dev.jsonl") if row["kind"] == kind]
    assert mean(detector.identify(row["text"]).confidence for row in rows) == pytest.approx(
        _accuracy(detector, rows), abs=gap
    )


def test_a_call_takes_under_two_milliseconds(detector: LanguageDetector) -> None:
    seconds = []
    for row in _development_rows("pubmedqa_dev.jsonl"):
        started = time.perf_counter()
        detector.detect(row["question"])
        seconds.append(time.perf_counter() - started)
    assert median(seconds) < 0.002
