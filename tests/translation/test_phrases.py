import copy
import importlib.util
import json
import pickle
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import polib
import pytest

from cmo.errors import CircuitOpen, EngineUnavailable, OracleError
from cmo.phrases import Phrase, joined
from cmo.policy.explanation import explanation
from cmo.policy.flags import FlagReason, FlagValue
from cmo.policy.routing import EngineFacts, RoutingFacts, decide
from cmo.policy.rules import DEFAULT_RULES, Rule
from cmo.storage.database import Database, migrate
from cmo.storage.ledger import SqlLedger
from cmo.translation.phrases import LANGUAGES, catalogue, in_language, read_catalogues
from cmo.values import Answer, Decision, Question, QuestionKind, QuestionType, RoutingCheck

ROOT = Path(__file__).resolve().parents[2]

FOUND = Phrase("Pages found: {n}", n=3)


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The script behind `make phrases`."""
    spec = importlib.util.spec_from_file_location("make_phrases", ROOT / "scripts" / "make_phrases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def po(translations: dict[str, str]) -> polib.POFile:
    file = polib.POFile()
    file.extend(polib.POEntry(msgid=template, msgstr=said) for template, said in translations.items())
    return file


def test_every_sentence_of_ours_is_in_every_language(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert made.main(["--check"]) == 0, capsys.readouterr().out


def test_there_is_a_catalogue_for_each_language_and_no_other(made: ModuleType) -> None:
    assert sorted(file.stem for file in made.CATALOGUES.iterdir()) == sorted(LANGUAGES)


def test_no_catalogue_names_a_host_a_person_or_a_date(made: ModuleType) -> None:
    for language in LANGUAGES:
        assert made.read(language).metadata.keys() == {
            "Project-Id-Version",
            "Language",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        }


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("", "not translated"),
        ("Gefundene Seiten: {m}", "other placeholders"),
        ("Gefundene Seiten", "other placeholders"),
        ("Gefundene Seiten: {n:.2f}", "other placeholders"),
        ("Gefundene Seiten: {n} {n}", "other placeholders"),
        ("Gefundene Seiten: {n", "other placeholders"),
    ],
)
def test_a_translation_that_would_not_work_is_found(made: ModuleType, said: str, fault: str) -> None:
    used = {"Pages found: {n}": ["cmo/a.py"]}
    right = made.merged(po({"Pages found: {n}": "Gefundene Seiten: {n}"}), used, "de")
    wrong = made.merged(po({"Pages found: {n}": said}), used, "de")

    assert made.faults(right, used, "de") == []
    assert [fault in found for found in made.faults(wrong, used, "de")] == [True]


def test_a_translation_that_changes_what_is_to_be_typed_is_found(made: ModuleType) -> None:
    used = {"Run `cmo index`.": ["cmo/a.py"]}
    wrong = made.merged(po({"Run `cmo index`.": "Führen Sie `cmo Index` aus."}), used, "de")
    assert ["other code" in found for found in made.faults(wrong, used, "de")] == [True]


@pytest.mark.parametrize("known", [{}, {"Gone.": "Weg."}, {"Here.": "Hier.", "Gone.": "Weg."}])
def test_a_catalogue_that_lags_behind_the_code_is_found(made: ModuleType, known: dict[str, str]) -> None:
    used = {"Here.": ["cmo/a.py"]}
    lagging = made.merged(po(known), {template: ["cmo/a.py"] for template in known}, "de")
    assert made.faults(lagging, used, "de") == ["de: not up to date with the code; run `make phrases`."]


def test_what_is_new_comes_in_what_is_gone_goes_and_what_is_known_stays(made: ModuleType) -> None:
    merged = made.merged(po({"Gone.": "Weg.", "Here.": "Hier."}), {"New.": ["cmo/a.py"], "Here.": ["cmo/b.py"]}, "de")
    assert [(entry.msgid, entry.msgstr) for entry in merged] == [("New.", ""), ("Here.", "Hier.")]


def test_what_translators_note_stays_and_what_they_doubt_counts_as_untranslated(made: ModuleType) -> None:
    used = {"Here.": ["cmo/a.py"]}
    doubted = polib.POFile()
    doubted.append(polib.POEntry(msgid="Here.", msgstr="Hier?", tcomment="or there", flags=["fuzzy"]))
    merged = made.merged(doubted, used, "de")

    assert [(entry.msgstr, entry.tcomment, entry.fuzzy) for entry in merged] == [("Hier?", "or there", True)]
    assert made.faults(merged, used, "de") == ["de: not translated: 'Here.'"]


def test_templates_are_found_wherever_they_stand(made: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "cmo").mkdir()
    (tmp_path / "cmo" / "b.py").write_text('phrases.Phrase("Second.")\nPhrase("First.")\n', encoding="utf-8")
    (tmp_path / "cmo" / "a.py").write_text(
        'LATE: Final = "Too " "late."\ndef f():\n    return [Phrase("First."), Phrase(LATE)]\n', encoding="utf-8"
    )
    assert made.templates(tmp_path / "cmo") == {
        "First.": ["cmo/a.py", "cmo/b.py"],
        "Too late.": ["cmo/a.py"],
        "Second.": ["cmo/b.py"],
    }


@pytest.mark.parametrize("call", ["Phrase(words)", 'Phrase(f"{n} pages")', 'Phrase("a" + b)', "Phrase(7)", "Phrase()"])
def test_a_template_that_is_made_at_run_time_is_an_error_that_names_the_line(
    made: ModuleType, tmp_path: Path, call: str
) -> None:
    (tmp_path / "cmo").mkdir()
    (tmp_path / "cmo" / "a.py").write_text(f"\n\n{call}\n", encoding="utf-8")
    with pytest.raises(made.UnknownTemplate, match=r"^cmo/a\.py:3: "):
        made.templates(tmp_path / "cmo")


def test_a_phrase_is_its_english_text() -> None:
    assert FOUND == "Pages found: 3"
    assert json.loads(json.dumps({"text": FOUND})) == {"text": "Pages found: 3"}


def test_a_phrase_is_said_in_the_language_asked_for() -> None:
    assert in_language(FOUND, "de") == "Gefundene Seiten: 3"


@pytest.mark.parametrize("language", ["en", "sv", "", "de-AT", "../de"])
def test_a_language_nobody_has_translated_into_gets_english(language: str) -> None:
    assert in_language(FOUND, language) == "Pages found: 3"


def test_a_sentence_nobody_has_translated_stays_english() -> None:
    assert in_language(Phrase("Nobody has translated {n}.", n=1), "de") == "Nobody has translated 1."


def test_phrases_in_phrases_are_translated() -> None:
    error = Phrase("{engine}: {error}", engine=Phrase("The web"), error=Phrase("No paper is indexed yet."))
    assert in_language(error, "de") == "Das Web: Noch ist kein Artikel indexiert."


def test_what_comes_from_outside_stays_as_it_is() -> None:
    searched = Phrase("Searching the web: {queries}", queries="Sources {n} {0}")
    assert in_language(searched, "de") == "Das Web wird durchsucht: Sources {n} {0}"


def test_several_sentences_are_translated_each_by_itself() -> None:
    both = joined([FOUND, "Alanine rose.", Phrase("Sources")])
    assert both == "Pages found: 3 Alanine rose. Sources"
    assert in_language(both, "de") == "Gefundene Seiten: 3 Alanine rose. Quellen"


def test_sentences_stand_without_a_space_between_them_where_that_is_the_custom() -> None:
    both = joined([Phrase("No paper is indexed yet."), Phrase("The index is not open.")])
    assert in_language(both, "zh") == "尚未索引任何论文。索引未打开。"
    assert in_language(both, "ko") == "아직 색인된 논문이 없습니다. 색인이 열려 있지 않습니다."


def test_a_list_is_translated_with_its_separators() -> None:
    assert in_language(joined([Phrase("the web"), Phrase("your papers")], ", "), "de") == "das Web, Ihre Artikel"


def test_a_stored_sentence_without_values_is_known_again() -> None:
    assert in_language("No paper is indexed yet.", "de") == "Noch ist kein Artikel indexiert."
    assert in_language("Pages found: 3", "de") == "Pages found: 3"


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda phrase: pickle.loads(pickle.dumps(phrase))],
    ids=["copy", "deep", "pickle"],
)
@pytest.mark.parametrize("phrase", [FOUND, joined([FOUND, FOUND]), Phrase("{engine}: {error}", engine=FOUND, error="")])
def test_copies_can_be_translated_too(phrase: Phrase, copied: Callable[[Phrase], Phrase]) -> None:
    other = copied(phrase)
    assert other == phrase
    assert in_language(other, "de") == in_language(phrase, "de") != phrase


def test_why_this_engine_is_told_without_a_word_of_english() -> None:
    papers = EngineFacts(
        name="lightrag",
        available=True,
        breaker_open=False,
        quality_low=False,
        estimate_usd=0.01,
        affordable=True,
        can_be_free=True,
    )
    web = replace(papers, name="perplexity", can_be_free=False)
    facts = RoutingFacts(
        engines=(papers, web),
        emergency_stopped=frozenset(),
        integration_enabled=True,
        forced=None,
        chosen=None,
        user_id="u",
        salt="s",
        rollout_percentage=50,
        flag=None,
        fallback_allowed=True,
        conditional_routing=True,
        rules=(*DEFAULT_RULES, Rule(name="short", engine="perplexity", max_words=3, regions=("asia",))),
        characters=30,
        words=4,
        kind=QuestionKind(type=QuestionType.VALUE, freshness=0.1),
        coverage=0.5,
        cohort="",
        region="",
        configuration="1",
    )
    for changed in (
        facts,
        replace(facts, words=2, region="asia"),
        replace(facts, rules=(), flag=FlagValue(value=True, reason=FlagReason.ROLLOUT)),
        replace(facts, rules=(), flag=FlagValue(value=False, reason=FlagReason.ROLLOUT)),
        replace(facts, chosen="perplexity"),
        replace(facts, engines=(replace(papers, breaker_open=True), replace(web, quality_low=True))),
        replace(facts, engines=(replace(papers, affordable=False), replace(web, affordable=False))),
        replace(facts, engines=(replace(papers, available=False), web)),
    ):
        told = [in_language(line, "zh") for line in explanation(decide(changed))]
        assert [line for line in told if re.search("[A-Za-z]", re.sub(r"[（(][a-z_:]+[）)]", "", line))] == []


def test_an_error_gives_its_message_back_as_it_was_given() -> None:
    error = EngineUnavailable(FOUND)
    assert str(error) == "Pages found: 3"
    assert in_language(error.words, "de") == "Gefundene Seiten: 3"
    assert CircuitOpen(FOUND, retry_after_seconds=1).words is FOUND


def test_an_error_without_a_message_has_no_words() -> None:
    assert OracleError().words == ""


async def test_a_decision_is_stored_as_plain_text(tmp_path: Path) -> None:
    decision = Decision(
        engine="lightrag",
        reason="rollout",
        bucket=1.0,
        configuration="c",
        checks=(RoutingCheck(name="rollout", matched=True, words=joined([FOUND, FOUND])),),
    )
    question = Question(text="?", user_id="u", thread_id="t", asked_at=datetime(2026, 3, 1, tzinfo=UTC), language="de")
    answer = Answer(
        text="Alanine.",
        answered=True,
        language="de",
        engine="lightrag",
        model="embedded",
        reason="rollout",
        citations=(),
        cost_usd=0.0,
        seconds=0.1,
        decision=decision,
    )
    url = f"sqlite+aiosqlite:///{tmp_path / 'cmo.db'}"
    await migrate(url)
    database = Database(url)
    try:
        ledger = SqlLedger(database)
        await ledger.record(question, answer, outcome="answered", seconds=0.1)
        (entry,) = await ledger.recent(1)
    finally:
        await database.close()

    assert entry.decision is not None
    words = entry.decision.checks[0].words
    assert (words, type(words)) == ("Pages found: 3 Pages found: 3", str)
    assert entry.decision == decision
    assert json.loads(json.dumps(asdict(decision)))["checks"][0]["words"] == words


def test_a_catalogue_is_read_once() -> None:
    assert catalogue("de") is catalogue("de")


def test_once_all_translations_are_read_none_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.cache_clear()
    read_catalogues()
    monkeypatch.setattr(polib, "pofile", None)

    assert all(catalogue(language) for language in LANGUAGES)
