"""Where sentences begin and end in biomedical prose, and which can stand alone. Pure; knows nothing of pages."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPENERS = "\"'“‘«([{¿¡"
_CLOSERS = "\"'”’»)\\]}"
_CITATION = r"(?:\[\d[\d,;–\- ]*\]|\d{1,3}(?:[,–\-]\d{1,3})*)"

# A terminator with what closes after it; raised citations (".12") count when a word or bracket stands before the dot.
_CANDIDATE = re.compile(
    rf"(?:(?<=[^\W\d])|(?<=[)\]%]))(?P<cited>[.!?]){_CITATION}(?=[ \t]+\S)"
    rf"|(?P<mark>[.!?…]+)[{_CLOSERS}]*(?:[ \t]+\[\d[\d,;–\- ]*\](?=[ \t]+[A-Z(]))?(?=[ \t]+\S)"
    rf"|[。！？]+[」』”’）]*"
)
_LINE = re.compile(r"[^\n]+")
_WORD_BEFORE = re.compile(r"[^\s(\[{“\"'‘,;/]+$")
_WORD_AFTER = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")

# "p53", "mRNA", "α-Tocopherol", "n-3", "sCTX", "a-tDCS": names that begin a sentence without a capital.
_LOWERCASE_NAME = re.compile(r"(?:[a-z]{1,3}(?:[A-Z0-9]|-[A-Z0-9])|[a-z]-[a-z]+[A-Z]|[α-ω]-?[A-Za-z0-9])")

_NEVER_END = _words(
    "appr approx ca calc cf conc cv dr e.g ed eds eg eq eqs esp excl fig figs i.e ie incl mr mrs ms nos ph.d.s pp prof "
    "ref refs resp ssp st subsp suppl tab temp v.s var viz vol vs"
)
_RARELY_END = _words(
    "a.m al apr assoc aug avg b.i.d b.sc co corp d.sc dec dept e.u est etc feb gen i.c.v i.m i.p i.v inc jan jr "
    "jul jun ltd m.d m.sc mar max nat nov oct p.m p.o ph.d q.d s.c sep sept sp spp sr std t.i.d u.k u.s u.s.a "
    "univ wt"
)
_STARTERS = _words(
    "a additionally after all although among an and another any approximately as at because before both but by "
    "compared consequently conversely currently despite during each either even finally first following for four "
    "from furthermore given hence here however if importantly in indeed interestingly it its many more moreover "
    "most neither nevertheless no none notably of on one only other our over overall patients recently results "
    "second several significant similar similarly since so some specifically studies subjects such that the their "
    "then there therefore these they third this those three thus to together two under unlike until we what when "
    "where whereas whether which while who why with within without yet"
)
_LETTERED = _words(
    "apolipoprotein appendix arm category class coenzyme cohort complex factor fig figure grade group hepatitis "
    "immunoglobulin influenza level panel part phase protein provitamin stage table type vitamin"
)
_LABEL_NAMES = r"(?:figs?|figure|table|tab|scheme|box|chart|equation|eq|appendix|section|chapter)"
_LABELS = re.compile(rf"{_LABEL_NAMES}\.?", re.IGNORECASE)
_GLUED_LABEL = re.compile(rf"{_LABEL_NAMES}s?\d{{1,2}}", re.IGNORECASE)  # "Figure1", where a narrow space was lost
_VERSION = re.compile(r"(?:^|[\s(,;])(?:v|ver|vers|rel)$", re.IGNORECASE)
_ASIDE = re.compile(r"\([^()]*\)(?:\s*[,;:.]|\s+[a-z])")  # "(Chen-Pi), the roots": it goes on
_RUN_IN = re.compile(
    r"(?:abstract|summary|background|introduction|context|purpose|rationale|aims?|objectives?|design|setting|methods?|"
    r"(?:study|trial) (?:design|registration)|(?:patients|participants|subjects|materials?) and methods|participants|"
    r"measurements?|interventions?|main outcome measures?|results?|findings|discussion|conclusions?|interpretation|"
    r"significance|funding)(?: and (?:methods|aims?|objectives?|results?|findings|discussion|conclusions?))?",
    re.IGNORECASE,
)

_MIN_WORDS = 4
_LOOK_BACK = 120  # characters before a full stop that decide about it
_CLEARLY_PROSE = 6  # words in small letters that outweigh many figures or capitals
_START = re.compile(rf"[{re.escape(_OPENERS)}•–-]*\s*(?:[^\W\da-z_]|\d)")
_END = re.compile(rf"[.!?。！？…][{_CLOSERS}]*(?:\s?{_CITATION})?$")
_CAPTION = re.compile(
    r"(?:\([A-Z]{3,4} [\d.]+ ?[kM]B\) )?(?:supplementary |additional )?"
    r"(?:fig(?:ure)?s?\.?|tables?|scheme|box|chart|appendix|file)\s*[A-Z]?\d+[a-z]?"
    r"(?:\s*[.:|)–-]|\s+(?-i:[A-Z(]))",
    re.IGNORECASE,
)
_PANEL = re.compile(r"\([A-Z]\)\s+[A-Z]")  # "(B) Blank serum", below a figure
_CREDIT = re.compile(r"\(?(?:reprinted|reproduced|adapted|redrawn|modified|taken)\b.{0,40}?\bfrom\b", re.IGNORECASE)
_SHORT_NAME = r"[A-Z][\w/-]*[A-Z0-9][\w/-]*"
_LEGEND = re.compile(
    rf"(?:abbreviations:?\s+)?{_SHORT_NAME}\s?=\s"  # "DF = degree of freedom"
    rf"|(?:abbreviations:?\s+)?{_SHORT_NAME}, [^;,]+; {_SHORT_NAME}, "  # "COX, cyclooxygenase; CYP, ..."
    rf"|(?:.*[\s;,])?{_SHORT_NAME}(?:\s?=|:)\s[a-z][^;,:=]*[;,]\s(?:and\s)?{_SHORT_NAME}(?:\s?=|:)\s[a-z]",
)
_FOOTNOTE = re.compile(r"(?:\d(?=[A-Z][a-z]{2})|[a-z](?=[A-Z][a-z]))(?P<word>[A-Z][a-z]*)\b")
_BARE_NUMBER = re.compile(r"\d[\d.,–-]*\s")
_FINITE = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|could|may|might|must|should|will|would|do|does|did|became|began|died|"
    r"gave|received|showed|took|underwent)\b"
)
_ENTRY = re.compile(
    r"\[?\d{1,3}[.\]]\s+[A-Z][\w’'-]+,?\s(?:[A-Z]\.?[- ]?){1,3}[,;:.&]"  # "12. Smith J,"
    r"|(?:[A-Z][\w’'-]+,?\s(?:[A-Z]\.?[- ]?){1,3}[,;:&]\s*(?:and\s|&\s)?){2}"  # "Smith, J.A.; Doe, K.;"
    r"|.*\b(?:19|20)\d\d\s*[;,]\s*\d+\s*(?:\(\d+\))?\s*[:,]\s*[A-Za-z]?\d+"  # "2012;31:1003", "2012, 2, 165"
    r"|.*\bdoi:\s*10\."
)
_ADDRESS = re.compile(
    r"\S+@\S+\.\w+|"
    r"\b(?:Department|Institute|School|Faculty|Division|Centre|Center|College|Laboratory) (?:of|for)\b"
)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Spans [start, end) of the sentences in order, without the white space between them.

    A line feed always ends a sentence: page texts hold them only between blocks and between rows of a table.
    """
    lines = (span for line in _LINE.finditer(text) for span in _sentences_of_line(text, *line.span()))
    return [part for span in lines for part in _after_run_in(text, *span)]


def is_complete(sentence: str) -> bool:
    """Whether it is a whole sentence that can be shown by itself.

    It begins and ends as sentences do and is no row of a table, caption, heading, reference or address.
    """
    text = sentence.strip()
    if "\t" in text or "\n" in text or not _END.search(text):
        return False
    if not (_START.match(text) or _LOWERCASE_NAME.match(text)):
        return False
    return not (_is_stub(text) or _is_cut(text)) and _reads_as_prose(text)


def _sentences_of_line(text: str, start: int, end: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    begin = start
    for candidate in _CANDIDATE.finditer(text, start, end):
        if _ends_here(text, begin, candidate, end):
            spans.append((begin, candidate.end()))
            begin = candidate.end()
    spans.append((begin, end))
    return [trimmed for span in spans if (trimmed := _trimmed(text, *span)) is not None]


def _after_run_in(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A sentence without the heading of a structured abstract that stands before it in the same line."""
    heading = _RUN_IN.match(text, start, end)
    if heading is None:
        return [(start, end)]
    colon = text.startswith((":", "."), heading.end())
    begin = heading.end() + colon
    after = text[begin:end]
    rest = after.lstrip(" \t")
    if rest == after or not (rest[:1].isupper() if colon else _starter(rest)):
        return [(start, end)]
    return [(start, begin), (end - len(rest), end)]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None


def _ends_here(text: str, begin: int, candidate: re.Match[str], end: int) -> bool:
    """Whether a terminator ends its sentence, by the words on both sides."""
    mark = candidate["cited"] or candidate["mark"]
    if mark is None:
        return True
    after = text[candidate.end() : min(end, candidate.end() + 60)].lstrip()
    if not _can_begin(after) or _in_brackets(text, begin, candidate.end(), end):
        return False
    if candidate["cited"]:
        version = _VERSION.search(text, begin, candidate.start())
        return not version and (after[0].isupper() or after[0] in _OPENERS)
    if "!" in mark or "?" in mark:
        return True
    before = text[max(begin, candidate.start() - _LOOK_BACK) : candidate.start()]
    word = _WORD_BEFORE.search(before)
    return word is None or _dot_ends(word.group(), before[: word.start()].rstrip(), after)


def _can_begin(after: str) -> bool:
    """Whether a sentence can begin like this: not with a small letter, unless it belongs to a name."""
    inner = after.lstrip(_OPENERS)
    if not inner or _ASIDE.match(after):
        return False
    return not inner[0].islower() or _LOWERCASE_NAME.match(inner) is not None


def _in_brackets(text: str, begin: int, at: int, end: int) -> bool:
    """Whether a bracket opened shortly before is closed shortly behind, with no other one between."""
    opened = text.rfind("(", max(begin, at - _LOOK_BACK), at)
    if opened < 0 or text.find(")", opened, at) >= 0:
        return False
    closed = text.find(")", at, min(end, at + _LOOK_BACK))
    return closed >= 0 and text.find("(", at, closed) < 0


def _dot_ends(word: str, before: str, after: str) -> bool:
    """Whether a full stop after `word` ends the sentence."""
    lowered = word.lower().strip(_OPENERS)
    if lowered in _NEVER_END:
        return False
    if _GLUED_LABEL.fullmatch(word) and not before:
        return False
    if lowered == "no":
        return not after[0].isdigit()
    if lowered in _RARELY_END:
        return _starter(after)
    if word.isdigit():
        return not _is_label(word, before, after)
    if len(word) == 1 and word.isalpha():
        return _letter_ends(word, before, after)
    if re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", word):
        return _starter(after)
    return True


def _is_label(number: str, before: str, after: str) -> bool:
    """Whether a number is that of a list item, a caption or the whole part of a decimal cut by a space."""
    if number == "0" and after[0].isdigit():
        return True
    if len(number) <= 2 and (not before or before[-1] in ":;,"):
        return True
    return _LABELS.fullmatch(before.strip()) is not None


def _letter_ends(letter: str, before: str, after: str) -> bool:
    """Whether a single letter is the end ("vitamin C.") rather than an initial or genus ("E. coli", "J. Smith")."""
    previous = _WORD_BEFORE.search(before)
    last = previous.group().lower() if previous else ""
    if last in _LETTERED:
        return True
    if not before or re.fullmatch(r"\w\.", last):
        return False
    return _starter(after) and (letter.islower() or letter != "A")


def _starter(after: str) -> bool:
    inner = after.lstrip(_OPENERS)
    word = _WORD_AFTER.match(inner)
    if word is not None and len(word.group()) == 1 and inner[1:2] == ".":
        return False
    return word is not None and word.group()[0].isupper() and word.group().lower() in _STARTERS


def _is_stub(text: str) -> bool:
    """Whether it is a caption or legend, an entry of a reference list or an address."""
    if any(pattern.match(text) for pattern in (_CAPTION, _PANEL, _CREDIT, _LEGEND, _ENTRY)):
        return True
    return _ADDRESS.search(text) is not None and _capitalised_share(text) > 0.5


def _is_cut(text: str) -> bool:
    """Whether its beginning stands elsewhere, or a mark of a footnote stands in its place."""
    if _ASIDE.match(text):
        return True
    if _BARE_NUMBER.match(text):
        return _FINITE.search(text) is None
    marked = _FOOTNOTE.match(text)
    return marked is not None and (text[0].isdigit() or marked["word"].lower() in _STARTERS)


def _reads_as_prose(text: str) -> bool:
    letters = sum(map(str.isalpha, text))
    small = sum(word[0].islower() for word in _WORD_AFTER.findall(text))
    share = letters / max(1, sum(not character.isspace() for character in text))
    if share < (0.35 if small >= _CLEARLY_PROSE else 0.55):
        return False
    if any("\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3" for character in text):
        return letters >= 2 * _MIN_WORDS
    words = [word for word in text.split() if sum(map(str.isalpha, word)) * 2 > len(word)]
    return len(words) >= _MIN_WORDS and (small >= _CLEARLY_PROSE or _capitalised_share(text) <= 0.6)


def _capitalised_share(text: str) -> float:
    """Share of the words that begin with a capital, the first one left out; 0 in scripts without capitals."""
    words: list[str] = [word for word in _WORD_AFTER.findall(text)[1:] if not word[0].isdigit()]
    capitals = sum(word[0].isupper() for word in words)
    return capitals / max(1, len(words))
