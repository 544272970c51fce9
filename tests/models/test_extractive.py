import pytest

from cmo.models.extractive import MOST_PAGES, ExtractiveModel
from cmo.values import ScoredPassage, Selection
from tests.models.test_evidence import found
from tests.models.word_tokens import WordEmbedder

LIBRARY = [
    found("Lactate on admission predicted death in patients with sepsis. Samples were stored cold.", page=1),
    found("Glucose was measured with a hand-held meter in all of the patients.", page=2),
    found("Panda milk changes slowly from colostrum to mature milk over a month.", page=1, paper="b"),
]


async def ask(question: str, passages: list[ScoredPassage], model: ExtractiveModel | None = None) -> Selection:
    return await (model or ExtractiveModel(WordEmbedder())).select(question, passages)


async def test_the_answer_begins_with_the_sentence_that_answers() -> None:
    selection = await ask("What predicted death in sepsis patients on admission?", LIBRARY)
    assert selection.sentences[0].text == "Lactate on admission predicted death in patients with sepsis."
    assert selection.sentences[0].passage.page == 1


async def test_every_sentence_stands_verbatim_in_its_passage() -> None:
    selection = await ask("How was glucose measured in patients?", LIBRARY)
    for sentence in (*selection.sentences, *selection.nearest):
        assert sentence.text in sentence.passage.text


async def test_a_question_about_something_else_is_refused_with_the_nearest_passages() -> None:
    selection = await ask("Who won yesterday's football match?", LIBRARY)
    assert selection.sentences == ()
    assert selection.nearest


async def test_no_passages_no_answer() -> None:
    selection = await ask("What predicted death?", [])
    assert selection == Selection(sentences=(), nearest=(), confidence=0.0)


async def test_passages_without_a_whole_sentence_give_no_answer() -> None:
    selection = await ask("lactate", [found("of lactate and")])
    assert (selection.sentences, selection.nearest) == ((), ())


async def test_at_most_five_pages_are_shown_and_no_sentence_twice() -> None:
    same = "Lactate predicted death in sepsis."
    passages = [found(f"{same} Cohort {n} was followed for {n} days in sepsis.", page=n) for n in range(1, 12)]
    selection = await ask("Did lactate predict death in sepsis?", passages)
    shown = [*selection.sentences, *selection.nearest]
    assert len({sentence.passage.page for sentence in shown}) <= MOST_PAGES
    assert len({sentence.text for sentence in shown}) == len(shown)


async def test_a_passage_is_embedded_once_for_many_questions() -> None:
    embedder = WordEmbedder()
    model = ExtractiveModel(embedder)
    await ask("What predicted death in sepsis?", LIBRARY, model)
    before = len(embedder.embedded)
    await ask("How was glucose measured?", LIBRARY, model)
    assert embedder.embedded[before:] == ["How was glucose measured?"]


async def test_confidence_is_a_probability() -> None:
    for question in ("What predicted death in sepsis patients?", "glucose", "Who won?"):
        assert 0 <= (await ask(question, LIBRARY)).confidence <= 1


async def test_coverage_is_the_cosine_of_the_passage_most_like_the_question() -> None:
    model = ExtractiveModel(WordEmbedder())
    same = found("lactate predicted death in sepsis")

    assert await model.coverage("lactate predicted death in sepsis", [*LIBRARY, same]) == pytest.approx(1.0, abs=1e-5)


async def test_more_passages_never_lower_the_coverage() -> None:
    model = ExtractiveModel(WordEmbedder())
    question = "How was glucose measured in patients?"
    values = [await model.coverage(question, LIBRARY[:number]) for number in range(len(LIBRARY) + 1)]

    assert values == sorted(values)
    assert values[0] == 0.0


async def test_a_question_of_the_papers_is_covered_better_than_one_about_something_else() -> None:
    model = ExtractiveModel(WordEmbedder())

    inside = await model.coverage("What predicted death in patients with sepsis?", LIBRARY)
    outside = await model.coverage("Who won yesterday's football match?", LIBRARY)

    assert inside > outside + 0.2


async def test_a_question_without_words_is_not_covered() -> None:
    assert await ExtractiveModel(WordEmbedder()).coverage("?!", LIBRARY) == 0.0


async def test_answering_embeds_nothing_again_that_coverage_has_embedded() -> None:
    embedder = WordEmbedder()
    model = ExtractiveModel(embedder)
    await model.coverage("How was glucose measured?", LIBRARY)
    before = len(embedder.embedded)
    await ask("How was glucose measured?", LIBRARY, model)

    assert embedder.embedded[before:] == ["How was glucose measured?"]
