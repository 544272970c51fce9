"""`cmo ask`: a question answered in the terminal."""

from __future__ import annotations

import sys
import uuid
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from cmo.bootstrap.answering import Application
from cmo.citations import bibliography
from cmo.cli.batch import run_batch
from cmo.cli.export import format_for, write
from cmo.cli.options import (
    BatchOption,
    EngineOption,
    JsonOption,
    PapersOption,
    QuestionArgument,
    StorageOption,
    UserOption,
    one_question,
    settings_for,
)
from cmo.cli.output import complain, errors_as_sentences, print_json, say
from cmo.cli.session import Session, open_session
from cmo.errors import EngineUnavailable, OracleError
from cmo.exports import FORMATS, Exchange, ExportFormat
from cmo.values import Answer, Citation, Finished, Quality, Question, SentenceSupport, Verdict

ExportOption = Annotated[
    Path | None,
    typer.Option(
        "--export",
        metavar="FILE",
        dir_okay=False,
        help="Write the answer and its sources to FILE: .md, .bib (BibTeX), .ris or .json (CSL-JSON).",
    ),
]
FormatOption = Annotated[
    ExportFormat | None,
    typer.Option("--format", help="The format of the exported file.", show_default="what FILE ends with"),
]

_NOT_BORNE_OUT = MappingProxyType(
    {
        Verdict.RELATED: "related, not confirmed",
        Verdict.NOT_FOUND: "not found in its sources",
        Verdict.CONTRADICTED: "contradicted by its sources",
    }
)
"""What stands behind a sentence that its sources do not bear out."""


def ask(
    question: QuestionArgument = None,
    batch: BatchOption = False,
    engine: EngineOption = None,
    user: UserOption = "cli",
    papers: PapersOption = None,
    storage: StorageOption = None,
    export: ExportOption = None,
    export_format: FormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a question from the papers or the web, each sentence with its source.

    Exit code 1 when nothing could be searched; that the papers do not answer is no failure.
    """
    text = one_question(question, batch=batch)
    target = _target(export, export_format, batch=batch)
    with (
        errors_as_sentences(as_json=as_json or batch),
        open_session(settings_for(papers=papers, storage=storage)) as session,
    ):
        asker = _Asker(user=user, choice=engine.value if engine else None)
        went_well = (
            _ask_batch(session, asker) if text is None else _ask_one(session, asker, text, target, as_json=as_json)
        )
    if not went_well:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asker:
    """Who asks, and the engine they chose."""

    user: str
    choice: str | None

    def question(self, text: str) -> Question:
        return Question(
            text=text,
            user_id=self.user,
            thread_id=f"cli-{uuid.uuid4().hex}",
            asked_at=datetime.now(UTC),
            choice=self.choice,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """The file an answer is exported to."""

    file: Path
    format: ExportFormat


def _target(file: Path | None, wanted: ExportFormat | None, *, batch: bool) -> _Target | None:
    """Where to export to; found out before anything is asked, which may cost money.

    Raises:
        typer.BadParameter: the options do not go together, or the file cannot be there.
    """
    if file is None:
        if wanted is not None:
            raise typer.BadParameter("--format needs --export FILE.")
        return None
    if batch:
        raise typer.BadParameter("--export is for one question, not for --batch.")
    chosen = format_for(file, wanted)
    if not file.parent.is_dir():
        raise typer.BadParameter(f'There is no folder "{file.parent}".')
    return _Target(file=file, format=chosen)


def _ask_batch(session: Session, asker: _Asker) -> bool:
    def answered(text: str) -> dict[str, object]:
        question = asker.question(text)
        return answer_as_json(question, session.run(_answer(session.application, question)))

    return run_batch(sys.stdin.buffer, answered)


def _ask_one(session: Session, asker: _Asker, text: str, target: _Target | None, *, as_json: bool) -> bool:
    question = asker.question(text)
    answer = session.run(_answer(session.application, question))
    if as_json:
        print_json(answer_as_json(question, answer))
    else:
        _print(answer)
    return target is None or _exported(target, Exchange(question=text, answer=answer))


def _exported(target: _Target, exchange: Exchange) -> bool:
    """Write the file. The answer has been printed by now, so that it is not lost when this fails."""
    try:
        write(FORMATS[target.format].write([exchange]), target.file)
    except OracleError as error:
        complain(str(error), style="red")
        return False
    return True


async def _answer(application: Application, question: Question) -> Answer:
    answer = None
    async for event in application.pipeline.ask(question):
        if isinstance(event, Finished):
            answer = event.answer
    if answer is None:
        raise EngineUnavailable("The question ended without an answer. Run `cmo doctor` to see what is wrong.")
    return answer


def answer_as_json(question: Question, answer: Answer) -> dict[str, object]:
    """The answer as `cmo ask --json` prints it; `cmo export --answer` knows it by its "question_id"."""
    return {
        "question_id": question.id,
        "answer": answer.text,
        "answered": answer.answered,
        "language": answer.language,
        "engine": answer.engine,
        "model": answer.model,
        "reason": answer.reason,
        "citations": [_citation_as_json(citation) for citation in answer.citations],
        "cost_usd": answer.cost_usd,
        "seconds": round(answer.seconds, 4),
        "notice": answer.notice,
        "written": answer.written,
        "tokens_in": answer.tokens_in,
        "tokens_out": answer.tokens_out,
        "cached_seconds": None if answer.cached_seconds is None else round(answer.cached_seconds, 1),
        "dropped_markers": answer.dropped_markers,
        "quality": None if answer.quality is None else _quality_as_json(answer.quality),
        "not_assessed": answer.not_assessed,
        "second_opinion": answer.second_opinion,
        "sentences": [_sentence_as_json(sentence) for sentence in answer.quality.sentences] if answer.quality else [],
        "compounds": [asdict(compound) for compound in answer.compounds],
        "original": answer.original,
        "translated_by": answer.translated_by,
        "kept_english": answer.kept_english,
    }


def _quality_as_json(quality: Quality) -> dict[str, object]:
    return {
        "relevance": round(quality.relevance, 4),
        "accuracy": round(quality.accuracy, 4),
        "consistency": round(quality.consistency, 4),
        "composite": round(quality.composite, 4),
        "badge": quality.badge.value,
        "custom": [asdict(custom) for custom in quality.custom],
        "notes": list(quality.notes),
    }


def _sentence_as_json(sentence: SentenceSupport) -> dict[str, object]:
    return {**asdict(sentence), "verdict": sentence.verdict.value, "score": round(sentence.score, 4)}


def _citation_as_json(citation: Citation) -> dict[str, object]:
    return {
        "number": citation.number,
        "document": citation.document,
        "title": citation.title,
        "page": citation.page or None,
        "quote": citation.quote,
        "url": citation.url,
        "date": citation.date,
        "authors": list(citation.authors),
        "year": citation.year,
        "doi": citation.doi,
        "confidence": None if citation.confidence is None else round(citation.confidence, 4),
    }


def _print(answer: Answer) -> None:
    say(_marked(answer))
    say("")
    for citation, line in zip(answer.citations, bibliography(answer.citations), strict=True):
        say(f"{line} ({citation.document})" if citation.page else line)
        if not answer.answered:
            say(f"    {citation.quote}", style="dim")
    if answer.notice:
        say(answer.notice, style="yellow")
    if line := _quality_line(answer):
        say(line, style="" if answer.quality else "yellow")
    if answer.original:
        say(f"Translated by {answer.translated_by}; --json has the English original.", style="dim")
    age = f" · answered {answer.cached_seconds:.0f} s before" if answer.cached_seconds is not None else ""
    say(
        f"{answer.engine} ({answer.reason}) · {answer.model} · {answer.seconds:.1f} s · ${answer.cost_usd:.4f}{age} · "
        "for research, not for diagnosis",
        style="dim",
    )


def _marked(answer: Answer) -> str:
    """The answer's text with a word behind each sentence that its sources do not bear out."""
    text = answer.text
    sentences = answer.quality.sentences if answer.quality else ()
    for sentence in sorted(sentences, key=lambda sentence: sentence.end, reverse=True):
        if sentence.verdict in _NOT_BORNE_OUT and sentence.end:
            text = f"{text[: sentence.end]} (! {_NOT_BORNE_OUT[sentence.verdict]}){text[sentence.end :]}"
    return text


def _quality_line(answer: Answer) -> str:
    """How good the answer is; why that is not known, where assessing failed; "" where there was nothing to assess."""
    if answer.quality is None:
        return f"Quality: not assessed. {answer.not_assessed}" if answer.not_assessed else ""
    quality = answer.quality
    counts = Counter(sentence.verdict for sentence in quality.sentences)
    told = (
        f"Quality: {quality.badge.value} ({quality.composite:.2f})",
        f"sentences supported: {counts[Verdict.SUPPORTED]} of {len(quality.sentences)}",
        f"could not be checked: {counts[Verdict.UNCHECKED]}" if counts[Verdict.UNCHECKED] else "",
        f"second opinion: {answer.second_opinion}" if answer.second_opinion else "",
    )
    return " · ".join(filter(None, told))
