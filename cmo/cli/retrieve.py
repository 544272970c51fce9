"""`cmo retrieve`: the passages found for a question, without an answer."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cmo.cli.batch import run_batch
from cmo.cli.options import (
    BatchOption,
    JsonOption,
    PapersOption,
    QuestionArgument,
    StorageOption,
    one_question,
    settings_for,
)
from cmo.cli.output import complain, errors_as_sentences, print_json, say
from cmo.cli.session import Session, open_session
from cmo.values import Retrieval


def retrieve(
    question: QuestionArgument = None,
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=200, metavar="N", help="How many passages.")] = 10,
    batch: BatchOption = False,
    papers: PapersOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the passages that fit a question best.

    Exit code 1 when nothing could be searched; that nothing fits is no failure.
    """
    text = one_question(question, batch=batch)
    with (
        errors_as_sentences(as_json=as_json or batch),
        open_session(settings_for(papers=papers, storage=storage)) as session,
    ):
        went_well = _batch(session, top_k) if text is None else _one(session, text, top_k, as_json=as_json)
    if not went_well:
        raise typer.Exit(1)


def _batch(session: Session, top_k: int) -> bool:
    return run_batch(sys.stdin.buffer, lambda text: retrieval_as_json(_found(session, text, top_k)))


def _one(session: Session, text: str, top_k: int, *, as_json: bool) -> bool:
    retrieval = _found(session, text, top_k)
    if as_json:
        print_json(retrieval_as_json(retrieval))
    else:
        _print(retrieval)
    return bool(retrieval.generation)


def _found(session: Session, question: str, top_k: int) -> Retrieval:
    return session.run(session.application.retriever.retrieve(question, top_k=top_k))


def retrieval_as_json(retrieval: Retrieval) -> dict[str, object]:
    """The passages as `cmo retrieve --json` prints them."""
    return {
        "passages": [
            {
                "document": found.document.file,
                "page": found.passage.page,
                "text": found.passage.text,
                "score": round(found.score, 6),
                "chunk_id": found.passage.chunk_id,
            }
            for found in retrieval.passages
        ],
        "seconds": round(retrieval.seconds, 4),
        "notice": retrieval.degraded,
    }


def _print(retrieval: Retrieval) -> None:
    if retrieval.degraded:
        complain(retrieval.degraded)
    for number, found in enumerate(retrieval.passages, start=1):
        title = f"{number}. {found.document.title}, p. {found.passage.page} ({found.document.file})"
        say(title, style="bold")
        say(f"{found.passage.text}\n")
    if not retrieval.generation:
        say("Index the papers first: run `cmo index`.")
    elif not retrieval.passages:
        say("Nothing was found.")
