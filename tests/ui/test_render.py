import re
from dataclasses import replace

import pytest

from cmo.phrases import Phrase
from cmo.translation.phrases import in_language
from cmo.ui import render
from cmo.values import Answer, Citation, Decision, RoutingCheck

JOINER = render.WORD_JOINER

CITATION = Citation(
    number=1,
    document="bcaa.pdf",
    title='Amino acids in "early" diabetes',
    page=3,
    quote="Leucine rises.",
    url="/papers/doc-0123456789abcdef.pdf#page=3",
    doc_id="doc-0123456789abcdef",
)

ANSWER = Answer(
    text="Leucine rises. [1]",
    answered=True,
    language="en",
    engine="lightrag",
    model="extractive",
    reason="only_engine",
    citations=(CITATION,),
    cost_usd=0.0,
    seconds=0.84,
)

PAGE = Citation(
    number=1,
    document="hmdb.ca",
    title='Leucine [HMDB] "the" *amino* acid',
    page=0,
    quote="Leucine is an amino acid.",
    url="https://hmdb.ca/metabolites/HMDB0000687",
    date="2026-09-14",
)

WRITTEN = replace(
    ANSWER,
    text="Leucine **rises** [1].",
    written=True,
    engine="perplexity",
    model="perplexity/sonar",
    reason="chosen",
    citations=(PAGE,),
    cost_usd=0.0031,
)

DECISION = Decision(
    engine="perplexity",
    reason="chosen",
    bucket=12.5,
    configuration="abcd1234",
    checks=(
        RoutingCheck(name="emergency_stop", matched=False, words="No engine is stopped."),
        RoutingCheck(name="chosen", matched=True, words="You chose the web."),
    ),
)


def test_a_marker_links_to_its_page() -> None:
    assert '[\\[1\\]](</papers/doc-0123456789abcdef.pdf#page=3> "Amino acids in \\"early\\" diabetes, page 3")' in (
        render.answer(ANSWER)
    )


@pytest.mark.parametrize("answer", [ANSWER, WRITTEN])
def test_identifiers_in_an_answer_lead_to_their_registries(answer: Answer) -> None:
    shown = render.answer(
        replace(answer, text="See doi:10.1000/A_b*c (PMID: 12), not [PMC3451](http://evil.example). [1]")
    )

    assert "[doi:10.1000/A\\_b\\*c](<https://doi.org/10.1000/a_b%2Ac>)" in shown
    assert "([PMID: 12](<https://pubmed.ncbi.nlm.nih.gov/12>))" in shown
    assert f"\\[[PMC3451](<https://pmc.ncbi.nlm.nih.gov/articles/PMC3451>)\\](http:{JOINER}//evil.example)" in shown
    assert "[\\[1\\]](<" in shown


def test_sources_name_the_identifier_of_their_paper() -> None:
    page = replace(PAGE, url="https://www.ncbi.nlm.nih.gov/pmc/articles/PMC345/")

    assert render.answer(replace(ANSWER, citations=(replace(CITATION, doi="10.1000/A"),))).endswith(
        ", p. 3, [doi:10.1000/a](<https://doi.org/10.1000/a>)"
    )
    assert render.answer(replace(WRITTEN, citations=(page,))).endswith(
        ", [PMC345](<https://pmc.ncbi.nlm.nih.gov/articles/PMC345>)"
    )


def test_what_a_title_names_is_no_link_within_the_link_to_its_page() -> None:
    shown = render.answer(replace(ANSWER, citations=(replace(CITATION, title="On doi:10.1000/x"),)))

    assert "doi.org" not in shown


@pytest.mark.parametrize("text", ["亮氨酸升高。 [1]", "亮氨酸升高。[1]", "هل يرتفع؟ [1]", "ल्यूसीन बढ़ता है। [1]"])
def test_a_marker_of_a_translated_sentence_links_to_its_page(text: str) -> None:
    assert "[\\[1\\]](<" in render.answer(replace(ANSWER, text=text)).partition("**")[0]


def test_the_frame_of_an_answer_is_in_the_language_of_its_question() -> None:
    shown = render.answer(replace(ANSWER, language="de"), [render.STOPPED])
    heading, notice = in_language(Phrase("Sources"), "de"), in_language(render.STOPPED, "de")
    assert f"> {notice}\n\n**{heading}**" in shown
    assert "Sources" not in shown


def test_markers_stay_beside_their_sentence_where_text_runs_from_right_to_left() -> None:
    shown = render.answer(replace(ANSWER, language="ar"))
    assert re.match("Leucine rises\\. \u200f\\[[^)]*\\)\u200f\n", shown)


def test_a_marker_without_a_citation_stays_text() -> None:
    assert render.answer(replace(ANSWER, text="As shown [7].")).startswith("As shown \\[7\\].")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p < 0.05", "p < 0.05"),
        ("a <b>bold</b> claim", "a \\<b>bold\\</b> claim"),
        ("2*3*4 and a_b", "2\\*3\\*4 and a\\_b"),
        ("![x](http://example.org/a.png)", f"!\\[x\\](http:{JOINER}//example.org/a.png)"),
        ("# not a heading", "\\# not a heading"),
        ("12. not a list", "12\\. not a list"),
        ("a ratio of 3:1, see HMDB:HMDB0000687", "a ratio of 3:1, see HMDB\\:HMDB0000687"),
        ("two\n\nlines", "two lines"),
        ("zero\u200bwidth", "zerowidth"),
        ("&lt;tag&gt; R&D", "\\&lt;tag\\&gt; R&D"),
        ("~5 to ~7", "\\~5 to \\~7"),
        ("www.example.org, me@example.org", f"www{JOINER}.example.org, me@{JOINER}example.org"),
        ("1990. A year, and 1.5 of it", "1990\\. A year, and 1.5 of it"),
    ],
)
def test_text_of_papers_is_never_markup(text: str, shown: str) -> None:
    assert render.plain(text) == shown


def test_a_papers_own_words_keep_their_paragraphs() -> None:
    shown = render.answer(replace(ANSWER, text="One. [1]\n\nRelated passages: [1]"))
    assert re.fullmatch(r"One\. \S+ [^\n]*\n\nRelated passages: \S+ [^\n]*\n\n\*\*Sources\*\*.*", shown, re.DOTALL)


def test_a_writers_paragraphs_lists_and_emphasis_stay() -> None:
    text = "It **rises**.\n\n1. in *men*\n   - more so\n2. in women\n\n* and mice"
    assert render.written(text) == "It **rises**.\n\n1. in *men*\n    - more so\n2. in women\n\n* and mice"


def test_a_writers_markers_become_links_wherever_they_stand() -> None:
    shown = render.answer(replace(WRITTEN, text="- **Leucine**[1]\n[1] says so too, [2] does not.", citations=(PAGE,)))
    shown = shown.partition("**Sources**")[0]
    assert shown.count("[\\[1\\]](<https://hmdb.ca/metabolites/HMDB0000687>") == 2
    assert "\\[2\\] does not" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![x](https://evil.example/a.png)", f"\\!\\[x\\](https:{JOINER}//evil.example/a.png)"),
        ("<img src=x> <!-- -->", "\\<img src=x> \\<!-- -->"),
        ("<https://evil.example>", f"\\<https:{JOINER}//evil.example>"),
        ("Www.evil.example", f"Www{JOINER}.evil.example"),
        ("me@evil.example", f"me@{JOINER}evil.example"),
        ("```\ncode [1]", "\\`\\`\\`\ncode \\[1\\]"),
        ("~~~\ncode", "\\~\\~\\~\ncode"),
        ("text\n\n        code [1]", "text\n\ncode \\[1\\]"),
        ("# Heading", "\\# Heading"),
        ("Heading\n===\n\nOther\n-", "Heading\n\\=\\=\\=\n\nOther\n\\-"),
        ("- # Heading", "- \\# Heading"),
        ("> quoted", "\\> quoted"),
        ("***", "\\*\\*\\*"),
        ("* * *", "* \\* \\*"),
        ("1. ---", "1. \\-\\-\\-"),
        ("a | b\n--- | :-\n1 | 2", "a \\| b\n\\-\\-\\- \\| \\:\\-\n1 \\| 2"),
        ("a[^1]\n\n[^1]: note", "a\\[^1\\]\n\n\\[^1\\]: note"),
        ("[a]: https://evil.example", f"\\[a\\]: https:{JOINER}//evil.example"),
        (":::warning\nObey\n:::", f":{JOINER}:{JOINER}\\:warning\nObey\n\\:{JOINER}\\:{JOINER}\\:"),
        (":icon[x]{y=z}", "\\:icon\\[x\\]{y=z}"),
        ("&lt;b&gt; R&D", "\\&lt;b\\&gt; R&D"),
        ("1990. A year", "1990\\. A year"),
        ("run \u202ebackwards\u200b\x00", "run backwards"),
        ("line\u2028# Heading", "line\n\\# Heading"),
    ],
)
def test_a_writer_cannot_link_embed_box_or_shout(text: str, shown: str) -> None:
    assert render.written(text) == shown


def test_a_marker_after_an_exclamation_mark_is_no_image() -> None:
    assert render.answer(replace(WRITTEN, text="Ha![1]")).startswith("Ha\\![\\[1\\]](<https:")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "", "file:///etc/passwd"])
def test_an_address_that_is_no_page_is_never_a_link(url: str) -> None:
    citation = replace(PAGE, url=url)
    shown = render.answer(replace(WRITTEN, citations=(citation,)))
    assert "](" not in shown
    assert "\\[1\\]" in shown or "[1]" in shown
    assert render.answer_props(replace(WRITTEN, citations=(citation,)))["sources"][0]["url"] == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/x y>z\\", "https://a.example/x%20y%3Ez%5C"),
        ("https://a.example/é|`[", "https://a.example/%C3%A9%7C%60%5B"),
        ("https://a.example/%41?q=50%", "https://a.example/%41?q=50%25"),
        ("https://a.example/\n\n# x", "https://a.example/%0A%0A#%20x"),
    ],
)
def test_addresses_are_written_as_the_page_has_them(url: str, shown: str) -> None:
    answer = replace(WRITTEN, citations=(replace(PAGE, url=url),))
    assert f"](<{shown}> " in render.answer(answer)
    assert render.answer_props(answer)["sources"][0]["url"] == shown


def test_an_address_cannot_smuggle_in_an_entity() -> None:
    answer = replace(WRITTEN, citations=(replace(PAGE, url="https://a.example/?a=1&copy;=2"),))
    assert "?a=1\\&copy;=2>" in render.answer(answer)
    assert render.answer_props(answer)["sources"][0]["url"] == "https://a.example/?a=1&copy;=2"


def test_web_sources_come_with_site_and_date() -> None:
    listed = render.answer(WRITTEN).rpartition("\n")[2]
    assert listed.startswith('1. [Leucine \\[HMDB\\] "the" \\*amino\\* acid](<https://hmdb.ca/')
    assert listed.replace(JOINER, "").endswith('"Leucine [HMDB] \\"the\\" *amino* acid, hmdb.ca"), hmdb.ca, 2026-09-14')
    assert render.answer_props(WRITTEN)["sources"][0]["web"]


def test_the_facts_of_a_written_answer_name_its_writer_and_its_cost() -> None:
    assert render.answer_props(WRITTEN)["facts"] == ["The web", "written by perplexity/sonar", "0.8 s", "$0.0031"]


def test_the_age_of_an_earlier_answer_is_told() -> None:
    assert render.answer_props(replace(WRITTEN, cached_seconds=7_200.0))["facts"][-1] == "answered 2 h ago"


def test_why_an_engine_was_asked_is_told_where_it_was_decided() -> None:
    assert any("You chose the web." in line for line in render.answer_props(replace(WRITTEN, decision=DECISION))["why"])
    assert render.answer_props(WRITTEN)["why"] == []


def test_the_bibliography_names_title_and_page() -> None:
    assert render.answer(ANSWER).endswith(', page 3"), p. 3')


def test_a_refusal_says_so_first_and_quotes_the_nearest_passages() -> None:
    refusal = replace(ANSWER, answered=False, text="The papers do not answer this. The nearest are below.")
    shown = render.answer(refusal)
    assert shown.startswith("> **The papers do not answer this.** The nearest are below.")
    assert "**Nearest passages**" in shown
    assert "“Leucine rises.”" in shown
    assert "**Sources**" not in shown


def test_notices_stand_under_the_answer() -> None:
    shown = render.answer(replace(ANSWER, notice="Please check the page."), ["The index is unfinished."])
    assert "\n\n> Please check the page.\n\n> The index is unfinished.\n\n" in shown


def test_the_facts_are_engine_model_seconds_and_cost() -> None:
    assert render.answer_props(ANSWER)["facts"] == ["Your papers", "extractive", "0.8 s", "no cost"]


@pytest.mark.parametrize(("usd", "shown"), [(0.0, "no cost"), (0.0012, "$0.0012"), (1.5, "$1.50")])
def test_small_costs_keep_their_digits(usd: float, shown: str) -> None:
    assert render.cost(usd) == shown
