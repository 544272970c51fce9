import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cmo.errors import ModelUnavailable
from cmo.interfaces import QuestionClassifier, Vectors
from cmo.models.minilm import MiniLM
from cmo.models.question_kind import (
    READ_CHARACTERS,
    WEIGHTS_FILE,
    QuestionKinds,
    question_type,
    shipped_weights,
    signs,
)
from cmo.values import QuestionType
from scripts import fit_freshness

FINGERPRINT = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))["embedder"]


class SetClock:
    def __init__(self, year: int) -> None:
        self.year = year

    def now(self) -> datetime:
        return datetime(self.year, 6, 1, tzinfo=UTC)


class OneVector:
    """Embeds every text alike and keeps what it was asked."""

    dimension = 384

    def __init__(self, vector: Vectors, fingerprint: str = FINGERPRINT) -> None:
        self.fingerprint = fingerprint
        self.embedded: list[str] = []
        self._vector = vector

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        return np.stack([self._vector] * len(texts))


class Broken(OneVector):
    async def embed(self, texts: Sequence[str]) -> Vectors:
        raise ModelUnavailable("The weights of the embedding model are not installed.")


NOTHING = np.zeros(384, np.float32)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniLM]:
    model = MiniLM(tmp_path_factory.mktemp("models"))
    yield model
    model.close()


async def freshness(question: str, *, year: int = 2026, embedder: OneVector | None = None) -> float:
    return (await QuestionKinds(embedder or Broken(NOTHING), SetClock(year)).classify(question)).freshness


@pytest.mark.parametrize(
    "question",
    [
        "What is the latest release of the Human Metabolome Database?",
        "Which metabolomics tests has the FDA approved?",
        "Which trials of carglumic acid are recruiting?",
        "How much does a bench-top NMR cost?",
        "Which lipidomics papers came out this year?",
    ],
)
async def test_what_changes_with_time_needs_fresh_answers(question: str, minilm: MiniLM) -> None:
    assert (await QuestionKinds(minilm, SetClock(2026)).classify(question)).needs_fresh


@pytest.mark.parametrize(
    "question",
    [
        "How is the current of the corona discharge measured?",
        "How should recently collected urine be stored?",
        "How does the liver release glucose?",
        "What is a metabolite?",
        "How many volunteers were recruited in 2011?",
        "What does phase II metabolism do to bile acids?",
    ],
)
async def test_time_words_about_samples_and_settled_facts_do_not(question: str, minilm: MiniLM) -> None:
    assert not (await QuestionKinds(minilm, SetClock(2026)).classify(question)).needs_fresh


async def test_a_year_counts_as_recent_by_the_clock() -> None:
    question = "Which drugs for gout were studied in 2026?"
    assert await freshness(question, year=2026) > await freshness(question, year=2030)
    assert signs("since 2024", 2026)["year_now"] == 1
    assert signs("since 2024", 2031)["year_now"] == 0


async def test_without_the_model_the_signs_alone_are_weighed() -> None:
    question = "What is the newest guideline for citrullinaemia?"
    _, alone = shipped_weights(FINGERPRINT)
    assert await freshness(question, embedder=Broken(NOTHING)) == alone.probability(signs(question, 2026))
    assert await freshness(question, embedder=OneVector(NOTHING)) != alone.probability(signs(question, 2026))


async def test_another_models_vectors_are_not_weighed() -> None:
    other = OneVector(NOTHING, fingerprint="another model")
    assert await freshness("What is citrulline?", embedder=other) == await freshness("What is citrulline?")
    assert other.embedded == []


async def test_the_embedding_speaks_where_no_sign_does() -> None:
    both, _ = shipped_weights(FINGERPRINT)
    assert both is not None
    towards = np.array(both.embedding, np.float32)
    towards /= np.linalg.norm(towards)
    question = "Is there a course on lipids?"
    low, middle, high = [
        await freshness(question, embedder=OneVector(vector)) for vector in (-towards, NOTHING, towards)
    ]
    assert low < 0.05 < middle < 0.5 < 0.95 < high


async def test_only_the_beginning_of_a_long_question_is_read() -> None:
    beginning = "Why does lactate rise? ".ljust(READ_CHARACTERS, "x")
    embedder = OneVector(NOTHING)
    assert await freshness(f"{beginning} latest news today", embedder=embedder) == await freshness(
        beginning, embedder=embedder
    )
    assert {len(text) for text in embedder.embedded} == {READ_CHARACTERS}


async def test_an_empty_question_is_of_no_type_and_needs_nothing_fresh() -> None:
    classifier: QuestionClassifier = QuestionKinds(Broken(NOTHING), SetClock(2026))
    kind = await classifier.classify("")
    assert kind.type is QuestionType.OTHER
    assert not kind.needs_fresh


def test_every_sign_has_a_weight_and_every_weight_a_sign() -> None:
    both, alone = shipped_weights(FINGERPRINT)
    assert both is not None
    assert set(both.signs) == set(alone.signs) == set(signs("", 2026))


def test_unseen_questions_are_told_as_well_as_the_file_says(minilm: MiniLM) -> None:
    unseen = [each for each in fit_freshness.read_own() if each.split == "unseen"]
    both, alone = shipped_weights(minilm.fingerprint)
    assert both is not None
    found = [signs(each.text, each.year) for each in unseen]
    vectors = minilm.encode([each.text for each in unseen])
    labels = np.array([each.needs_fresh for each in unseen])
    with_vectors = np.array([both.probability(each, vector) for each, vector in zip(found, vectors, strict=True)])
    without = np.array([alone.probability(each) for each in found])
    said = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))["made"]
    for way, chances in (("signs_and_embedding", with_vectors), ("signs_alone", without)):
        assert fit_freshness.balanced_accuracy(labels, chances) == pytest.approx(said[way]["unseen"], abs=0.035)


def test_the_file_is_what_the_script_fits(shared: Path, minilm: MiniLM) -> None:
    general = fit_freshness.read_general(shared / "evals" / "freshqa_dev.jsonl")
    known = [*general, *(each for each in fit_freshness.read_own() if each.split != "unseen")]
    names = fit_freshness.sign_names()
    data = fit_freshness.with_features(known, minilm, 0)
    model = fit_freshness.fit_best(data, fit_freshness.penalties(len(names), 0))
    _, alone = shipped_weights(minilm.fingerprint)
    fitted = dict(zip(names, model.weights.tolist(), strict=True))
    assert fitted == pytest.approx(dict(alone.signs), abs=0.002), "run scripts/fit_freshness.py again"


def test_alike_questions_stay_in_one_fold() -> None:
    texts = ["What is the newest drug for gout?", "What is the newest drug for lupus?", "Why is urea made?"] * 10
    labelled = [
        fit_freshness.Labelled(text=text, needs_fresh=number % 2, year=2026, source="own")
        for number, text in enumerate(texts)
    ]
    data = fit_freshness.as_data(labelled, np.zeros((len(texts), 1)))
    fold = fit_freshness.folds(data, 2, seed=1)
    assert len({*fold[0::3], *fold[1::3]}) == 1
    assert len(set(data.groups.tolist())) == 2


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is a metabolome?", QuestionType.DEFINITION),
        ("What does isobaric mean?", QuestionType.DEFINITION),
        ("Why is homocysteine high in folate deficiency?", QuestionType.MECHANISM),
        ("How does fasting raise ketone bodies?", QuestionType.MECHANISM),
        ("How do I store plasma?", QuestionType.METHOD),
        ("How were lipids extracted?", QuestionType.METHOD),
        ("How many volunteers took part?", QuestionType.VALUE),
        ("What is the reference range of citrate in urine?", QuestionType.VALUE),
        ("What is the difference between serum and plasma?", QuestionType.COMPARISON),
        ("Is leucine higher in cases than in controls?", QuestionType.COMPARISON),
        ("Does coffee lower uric acid?", QuestionType.EVIDENCE),
        ("Which enzymes make carnitine?", QuestionType.OTHER),
    ],
)
def test_the_wording_tells_the_type(question: str, expected: QuestionType) -> None:
    assert question_type(question, needs_fresh=False) is expected


def test_fresh_questions_are_for_news_unless_something_more_precise_is_asked() -> None:
    assert question_type("What is new in lipidomics?", needs_fresh=True) is QuestionType.NEWS
    assert question_type("How many lipids are in the newest release?", needs_fresh=True) is QuestionType.VALUE
