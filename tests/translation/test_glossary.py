"""Questions of other languages as English search text: what comes through, what goes, what is left alone."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from cmo.translation.cognates import Vocabulary, similarity, spellings, transliterated
from cmo.translation.glossary import LANGUAGES, Glossary, load_terms

PAPERS = (
    "omeprazole trigonelline quercetin homocysteine desmopressin mammography palmitic citrulline ranitidine tryptophan "
    "glycoprotein hydroxyproline gastroesophageal reflux patient metabolic stilbenes lisinopril"
).split()

SAME_QUESTION = {
    "ar": "كم عدد المرضى في المجموعة الضابطة؟",
    "de": "Wie viele Patienten waren in der Kontrollgruppe?",
    "es": "¿Cuántos pacientes había en el grupo de control?",
    "fr": "Combien de patients y avait-il dans le groupe témoin ?",
    "it": "Quanti pazienti c'erano nel gruppo di controllo?",
    "ja": "対照群には何人の患者がいましたか？",
    "ko": "대조군에는 환자가 몇 명 있었습니까?",
    "nl": "Hoeveel patiënten zaten er in de controlegroep?",
    "pl": "Ilu pacjentów było w grupie kontrolnej?",
    "pt": "Quantos pacientes havia no grupo de controle?",
    "ru": "Сколько пациентов было в контрольной группе?",
    "sv": "Hur många patienter fanns i kontrollgruppen?",
    "tr": "Kontrol grubunda kaç hasta vardı?",
    "zh": "对照组有多少患者？",
}


@pytest.fixture(scope="module")
def glossary() -> Glossary:
    return Glossary(PAPERS)


def test_english_is_returned_unchanged(glossary: Glossary) -> None:
    question = "How many  patients, then?"
    assert glossary.to_english(question, "en") == question


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_asks_the_same_question(glossary: Glossary, language: str) -> None:
    english = glossary.to_english(SAME_QUESTION[language], language)
    for term in ("how many", "patient", "control group"):
        assert term in english


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_english_comes_out(glossary: Glossary, language: str) -> None:
    assert glossary.to_english(SAME_QUESTION[language], language).isascii()


@pytest.mark.parametrize(
    ("language", "words", "english"),
    [
        ("de", "der Patientinnen", "patient"),
        ("fr", "les maladies", "disease"),
        ("pl", "nerkami", "kidney renal"),
        ("ru", "почками", "kidney renal"),
        ("tr", "hastalarında", "patient"),
        ("tr", "hastalığın", "disease"),
        ("ar", "وبالمرضى", "patient"),
        ("ko", "환자에게", "patient"),
    ],
)
def test_inflected_words_are_found(glossary: Glossary, language: str, words: str, english: str) -> None:
    assert glossary.to_english(words, language) == english


@pytest.mark.parametrize(
    ("language", "word", "english"),
    [
        ("de", "Blutzuckerspiegel", "blood glucose blood sugar concentration level"),
        ("de", "Knochendichte", "bone Dichte"),
        ("de", "Tryptophanspiegel", "tryptophan concentration level"),
        ("nl", "bloedmonster", "blood sample"),
        ("sv", "njurfunktion", "kidney renal function"),
    ],
)
def test_compounds_come_apart(glossary: Glossary, language: str, word: str, english: str) -> None:
    assert glossary.to_english(word, language).lower() == english.lower()


@pytest.mark.parametrize(
    ("language", "phrase", "english"),
    [
        ("fr", "acides gras à chaîne courte", "short-chain fatty acids"),
        ("es", "diabetes de tipo 2", "type 2 diabetes"),
        ("de", "Typ-2-Diabetes", "type 2 diabetes"),
        ("zh", "神经性厌食症", "anorexia nervosa"),
        ("ja", "腸内細菌叢", "gut microbiota"),
        ("ko", "신경성 식욕부진증", "anorexia nervosa"),
    ],
)
def test_the_longest_phrase_wins(glossary: Glossary, language: str, phrase: str, english: str) -> None:
    assert glossary.to_english(phrase, language) == english


@pytest.mark.parametrize(
    ("language", "words", "english"),
    [("sv", "har", "har"), ("sv", "hår", "hair"), ("fr", "du dû", "cause caused"), ("sv", "är år", "year annual")],
)
def test_an_accent_makes_another_word(glossary: Glossary, language: str, words: str, english: str) -> None:
    assert glossary.to_english(words, language) == english


def test_a_missing_accent_is_forgiven(glossary: Glossary) -> None:
    assert glossary.to_english("acidos grasos", "es") == "fatty acid"


@pytest.mark.parametrize("kept", ["IL-6", "HbA1c", "TMAO", "0,5", "12.3%", "HMDB0000122", "N"])
def test_numbers_and_symbols_stay_verbatim(glossary: Glossary, kept: str) -> None:
    assert kept in glossary.to_english(f"Wie hoch war {kept} im Plasma?", "de").split()


def test_question_order_is_kept(glossary: Glossary) -> None:
    assert glossary.to_english("Leber, Niere und Gehirn", "de") == "liver hepatic kidney renal brain"


def test_nothing_is_said_twice(glossary: Glossary) -> None:
    assert glossary.to_english("Niere, Nieren, Leber, Niere", "de") == "kidney renal liver hepatic"


@pytest.mark.parametrize(
    ("language", "word", "english"),
    [
        ("it", "quercetina", "quercetin"),
        ("es", "glicoproteína", "glycoprotein"),
        ("it", "idrossiprolina", "hydroxyproline"),
        ("de", "Gastroösophageal", "gastroesophageal"),
        ("de", "Palmitinsäure", "palmitic"),
        ("pl", "desmopresyną", "desmopressin"),
        ("ru", "омепразола", "omeprazole"),
        ("ru", "цитруллин", "citrulline"),
        ("ja", "オメプラゾール", "omeprazole"),
        ("ko", "라니티딘은", "ranitidine"),
        ("cs", "pacientů", "patient"),
    ],
)
def test_cognates_become_words_of_the_papers(glossary: Glossary, language: str, word: str, english: str) -> None:
    assert english in glossary.to_english(word, language).split()


@pytest.mark.parametrize(("language", "word"), [("de", "Wasserfall"), ("es", "tarea"), ("pl", "krzesło")])
def test_unlike_words_are_not_forced_on_the_vocabulary(glossary: Glossary, language: str, word: str) -> None:
    assert not set(glossary.to_english(word, language).lower().split()) & set(PAPERS)


def test_endings_are_anglicised_without_a_vocabulary() -> None:
    assert Glossary().to_english("biotransformazione anabolica", "it") == "biotransformation anabolic"


def test_a_name_stays_as_it_is_without_a_vocabulary() -> None:
    assert Glossary().to_english("Michaelis Menten", "de") == "Michaelis Menten"


def test_single_characters_are_not_read_into_unknown_words(glossary: Glossary) -> None:
    assert glossary.to_english("고막절개술", "ko") == "고막절개술"


def test_a_text_of_function_words_is_left_alone(glossary: Glossary) -> None:
    assert glossary.to_english("und das ist", "de") == "und das ist"


def test_an_empty_text_stays_empty(glossary: Glossary) -> None:
    assert [glossary.to_english("", language) for language in LANGUAGES] == [""] * len(LANGUAGES)


@pytest.mark.parametrize(
    ("foreign", "latin"), [("гомоцистеин", "gomocistein"), ("λεπτίνη", "leptini"), ("Çölyak", "colyak")]
)
def test_other_alphabets_become_latin(foreign: str, latin: str) -> None:
    assert transliterated(foreign) == latin


def test_a_russian_g_may_be_an_h() -> None:
    assert "homocisteine" in spellings("гомоцистеина")


def test_similarity_is_the_share_of_letters_in_place() -> None:
    assert similarity("leptin", "leptina") == pytest.approx(6 / 7)
    assert similarity("", "") == 1.0
    assert similarity("leptin", "insulin", at_least=0.8) == 0.0


def test_an_empty_vocabulary_knows_nothing() -> None:
    assert Vocabulary(()).nearest(["leptin"]) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_word_lists_are_clean(language: str) -> None:
    lines = (files("cmo.translation") / "terms" / f"{language}.tsv").read_text(encoding="utf-8").splitlines()
    seen: set[str] = set()
    for line in lines:
        english, variants = line.split("\t")
        assert english == "-" or re.fullmatch(r"[A-Za-z0-9 -]+", english), line
        for variant in variants.split("|"):
            assert variant == variant.strip(), line
            assert variant, line
            assert "*" not in variant[:-1], line
            assert variant.lower() not in seen, line
            seen.add(variant.lower())


@pytest.mark.parametrize("language", LANGUAGES)
def test_word_lists_are_large_enough(language: str) -> None:
    assert len(set(load_terms(language).words.values()) | set(load_terms(language).beginnings.values())) >= 600
