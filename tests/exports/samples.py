"""Answers to export, and texts that try to break out of whatever they are put into."""

from __future__ import annotations

from hypothesis import strategies as st

from cmo.exports import Exchange
from cmo.values import Answer, Badge, Citation, CustomScore, Quality, SentenceSupport, Verdict

PAPER = Citation(
    number=1,
    document="cohorts/tmao.pdf",
    title="TMAO & risk: 50 % of {a} cohort",
    page=3,
    quote="Plasma TMAO was higher in 1,876 patients.",
    url="/papers/doc-1.pdf#page=3",
    doc_id="doc-1",
    authors=("Ada van der Núñez", "Li, Bo", "Consortium"),
    year=2019,
    doi="10.1000/TMAO.1",
)

LATER_PAGE = Citation(
    number=3,
    document=PAPER.document,
    title=PAPER.title,
    page=7,
    quote="It fell again.",
    url="/papers/doc-1.pdf#page=7",
    doc_id="doc-1",
    authors=PAPER.authors,
    year=PAPER.year,
    doi=PAPER.doi,
)

WEB = Citation(
    number=2,
    document="pubmed.ncbi.nlm.nih.gov",
    title="Trimethylamine N-oxide",
    page=0,
    quote="",
    url="https://pubmed.ncbi.nlm.nih.gov/23193287/",
    date="2025-03-01",
)

ANSWER = Answer(
    text="TMAO **rises** with age [1][2]. Later it falls [3].\n\n- It is an oxide [2].",
    answered=True,
    language="en",
    engine="lightrag",
    model="writer-1",
    reason="rollout",
    citations=(PAPER, WEB, LATER_PAGE),
    cost_usd=0.01,
    seconds=1.0,
    notice="The graph could not be searched.",
    written=True,
)

QUALITY = Quality(
    relevance=0.9,
    accuracy=0.8,
    consistency=0.85,
    composite=0.855,
    badge=Badge.GOOD,
    sentences=(
        SentenceSupport(
            text="TMAO **rises** with age [1][2].",
            verdict=Verdict.SUPPORTED,
            score=0.93,
            quote="Plasma TMAO was higher in 1,876 patients.",
            source=1,
            cited=(1, 2),
        ),
        SentenceSupport(text="Later it falls [3].", verdict=Verdict.NOT_FOUND, score=0.12, quote="", cited=(3,)),
        SentenceSupport(text="It is an oxide [2].", verdict=Verdict.UNCHECKED, score=0.0, quote="", cited=(2,)),
    ),
    custom=(CustomScore(name="house_style", score=0.5, weight=0.0),),
    notes=("One source has no text here.",),
)

EXCHANGE = Exchange(question="Does TMAO rise?", answer=ANSWER)

_BREAKERS = (
    *"{ } \\ \" ' and AND others , * % # $ & _ ^ ~ @ ### - 1. > | ``` [1] <script> <!-- ![a](b) é 代".split(),
    *(
        "[l](javascript:x)",
        "doi:10.1000/x",
        r"\input{/etc/passwd}",
        r"\}",
        "}, {",
        "}}\n\n@misc{k,\n",
        "@article{x, title={y}}",
    ),
    *("\r\nER  - \r\n", "\nTY  - JOUR\nAU  - X", "\u2028ER  - ", "\x00", "\x0b", "\x1c", "\x85", "\u202e", "\ud800"),
)

HOSTILE = st.lists(st.one_of(st.sampled_from([*_BREAKERS, " ", "\n", "\n\n"]), st.text(max_size=8)), max_size=8).map(
    "".join
)


@st.composite
def hostile_exchanges(draw: st.DrawFn) -> list[Exchange]:
    """One or two answers whose every text may be anything."""
    return [_hostile_exchange(draw, index) for index in range(draw(st.integers(1, 2)))]


def _hostile_exchange(draw: st.DrawFn, index: int) -> Exchange:
    citations = tuple(
        Citation(
            number=number,
            document=draw(HOSTILE),
            title=draw(HOSTILE),
            page=draw(st.sampled_from([0, 3])),
            quote=draw(HOSTILE),
            url=draw(HOSTILE.map("https://site.example/".__add__)),
            doc_id=draw(st.sampled_from(["", f"doc-{index}-{number}"])),
            date=draw(st.sampled_from(["", "2025", "2025-13-99", "2024-02", "2024-02-29"]) | HOSTILE),
            authors=tuple(draw(st.lists(HOSTILE, max_size=3))),
            year=draw(st.none() | st.integers(1800, 2100)),
            doi=draw(st.none() | HOSTILE),
        )
        for number in (1, 2)
    )
    quality = Quality(
        relevance=0.9,
        accuracy=0.8,
        consistency=0.85,
        composite=0.855,
        badge=Badge.GOOD,
        sentences=tuple(
            SentenceSupport(
                text=draw(HOSTILE),
                verdict=draw(st.sampled_from(Verdict)),
                score=0.5,
                quote=draw(HOSTILE),
                source=draw(st.sampled_from([0, 1, 9])),
            )
            for _ in range(draw(st.integers(0, 2)))
        ),
        custom=(CustomScore(name=draw(HOSTILE), score=0.5, weight=0.0),),
        notes=(draw(HOSTILE),),
    )
    answer = Answer(
        text=draw(HOSTILE) + " [1]. [2] " + draw(HOSTILE),
        answered=draw(st.booleans()),
        language="en",
        engine="lightrag",
        model=draw(HOSTILE),
        reason="rollout",
        citations=citations,
        cost_usd=0.0,
        seconds=1.0,
        notice=draw(st.none() | HOSTILE),
        written=draw(st.booleans()),
        quality=draw(st.sampled_from([None, quality])),
        not_assessed=draw(HOSTILE),
        original=draw(HOSTILE),
    )
    return Exchange(question=draw(HOSTILE), answer=answer)
