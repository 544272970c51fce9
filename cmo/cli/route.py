"""`cmo route`: which engine a question would go to, and why."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated

import typer

from cmo.cli.options import (
    EngineOption,
    JsonOption,
    PapersOption,
    QuestionArgument,
    StorageOption,
    UserOption,
    one_question,
    settings_for,
)
from cmo.cli.output import errors_as_sentences, print_json, say
from cmo.cli.session import open_session
from cmo.policy.explanation import decision_as_json, explanation
from cmo.values import Question

CohortOption = Annotated[str, typer.Option("--cohort", metavar="NAME", help="The group the person belongs to.")]
RegionOption = Annotated[str, typer.Option("--region", metavar="NAME", help="The region the person is in.")]


def route(
    question: QuestionArgument = None,
    user: UserOption = "cli",
    engine: EngineOption = None,
    cohort: CohortOption = "",
    region: RegionOption = "",
    papers: PapersOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain which engine a question would go to, rule by rule.

    Nothing is asked and nothing is booked. Exit code 1 when nobody could be asked.
    """
    text = one_question(question, batch=False)
    assert text is not None
    with (
        errors_as_sentences(as_json=as_json),
        open_session(settings_for(papers=papers, storage=storage)) as session,
    ):
        decision = session.run(
            session.application.pipeline.decide(
                Question(
                    text=text,
                    user_id=user,
                    thread_id=f"cli-{uuid.uuid4().hex}",
                    asked_at=datetime.now(UTC),
                    choice=engine.value if engine else None,
                    cohort=cohort,
                    region=region,
                )
            )
        )
    if as_json:
        print_json(decision_as_json(decision))
    else:
        for line in explanation(decision):
            say(line)
    if decision.engine is None:
        raise typer.Exit(1)
