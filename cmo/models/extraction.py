"""Entities, relations and keywords by dictionary: no model, no network, the same result every time.

What a document's own abbreviations mean comes before any list. Mentions that are only a part of another thing's name
(the glutamate in glutamate dehydrogenase) are left out. Nothing here knows where the names come from.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from cmo.library.abbreviations import find_abbreviations
from cmo.library.lexicon import Lexicon
from cmo.library.names import Gap, Token, name_key, tokens
from cmo.library.wordlists import COMPOUND_TYPES, EntityType, Entry
from cmo.sentences import split_sentences
from cmo.values import Entity, Extraction, Keywords, Relation

# To be raised when the rules below find something else: the knowledge graph is then built anew.
_RULES_VERSION = 1

# A passage of 200 words names four things on average. One that lists forty is a table: all pairs of it would make hubs
# that say nothing, and the graph's cost grows with every entity and relation of every passage.
MOST_ENTITIES = 12
MOST_RELATIONS = 15
MOST_KEYWORDS = 8
MOST_SYNONYMS = 12

_WITHIN_A_NAME = (Gap.TIGHT, Gap.SPACE)
_KEPT_LAST = (EntityType.METHOD, EntityType.SPECIMEN)
_LIPID_CLASSES = {
    "LYSOPC": "LPC", "LYSOPE": "LPE", "LYSOPI": "LPI", "LYSOPS": "LPS", "LYSOPA": "LPA", "LPC": "LPC", "LPE": "LPE",
    "LPI": "LPI", "LPS": "LPS", "LPA": "LPA", "LPG": "LPG", "PC": "PC", "PE": "PE", "PS": "PS", "PI": "PI", "PG": "PG",
    "PA": "PA", "CL": "CL", "SM": "SM", "CER": "Cer", "DHCER": "dhCer", "HEXCER": "HexCer", "GLCCER": "GlcCer",
    "GALCER": "GalCer", "LACCER": "LacCer", "TG": "TG", "TAG": "TG", "DG": "DG", "DAG": "DG", "MG": "MG", "MAG": "MG",
    "CE": "CE", "CHE": "CE", "FA": "FA", "FFA": "FA", "CAR": "CAR", "GM1": "GM1", "GM2": "GM2", "GM3": "GM3",
    "GD3": "GD3",
}  # fmt: skip
_CHAIN = r"(?:[OPdmt]-?)?\d{1,2}:\d{1,2}(?:[;(](?:[OPdt]\d?|OH|\d{0,2}[EZ,\d]*)\)?)?"
_LIPID = re.compile(
    rf"\b(?P<head>{'|'.join(sorted(_LIPID_CLASSES, key=len, reverse=True))})s?"
    rf"(?:[ -]?(?P<bond>aa|ae|a|e)[ -]?)?[ -]?\(?C?(?P<chains>{_CHAIN}(?:[/_]{_CHAIN})*)\)?",
    re.IGNORECASE,
)
_ACYLCARNITINE = re.compile(r"\b(?:acyl|C)?-?C?(?P<chain>\d{1,2}(?::\d)?(?:-?(?:OH|DC|M))?)[ -](?:acyl)?carnitines?\b")

# What follows a name and makes it a part of another: an enzyme, a carrier. An insulin receptor is no insulin.
_HEAD_NOUN = re.compile(
    r"(?:.+ase|receptor|transporter|exchanger|channel|synthetase|antagonist|agonist|inhibitor|analog(?:ue)?"
    r"|antibody|antiporter|symporter|cotransporter|buffer|like|binding|binder|reuptake|activator|conjugate|carrier|operon"
    r"|promoter|gene|standard)s?"
)
_NOT_A_SPECIMEN = frozenset(
    "pressure cell flow vessel loss count product donor transfusion bank group type brain membrane volume clot"
    " sugar".split()
)
_SALTS = frozenset({"sodium", "potassium", "calcium", "magnesium", "ammonium", "lithium", "zinc"})
_NOT_AN_ENZYME = frozenset("increase decrease release disease base phase database case purchase".split())
# What stands before a name with a hyphen and makes it another compound: 2-hydroxy-glutarate is no glutarate.
_CHEMICAL_PREFIX = re.compile(
    r".*(?:hydroxy|oxo|keto|methyl|ethyl|acetyl|amino|phospho|deoxy|dehydro|hydro|acyl|oyl|chloro|fluoro|bromo|iodo"
    r"|nitro|thio|syl|sulfo|carboxy|methoxy|phenyl|benzyl|iso|cyclo|glycosyl|succinyl|formyl|glucuronyl|nor|seco|homo)"
)
_STOP_WORDS = frozenset(
    "a about above after again against all also am among an and another any are as at be because been before being"
    " below between both but by can cannot could did do does doing done down during each either else ever every few"
    " for from further get give given had has have having he her here hers him his how however i if in into is it its"
    " itself just know let like made make many may me might more most much must my no nor not now of off often on once"
    " one only or other our out over own per please same say see she should show since so some such tell than that the"
    " their them then there these they this those through to too under until up upon us use used using very via was we"
    " well were what when where whether which while who whom whose why will with within without would you your yes"
    # The function words of the other languages that questions are asked in, as far as they mean nothing in English.
    " quels quelles quel quelle sont dans pour avec les des une est sur par aux entre chez pourquoi"
    " welche welcher welches wie sind ist ein eine einer eines der die das und von bei zum zur mit im den dem werden"
    " wird cuáles cuál qué cómo son los las una del para con por como sobre el la en es"
    " quali qual come sono nella nel della delle degli gli che tra quais são da dos das uma na nos um o os as"
    " welke zijn het een van voor met wat hoe vilka är och för som".split()
)
_ABOUT_THE_QUESTION = frozenset(
    "association associated role effect effects difference differences study studies paper papers evidence find found"
    " report reported explain describe mean known level levels change changes result results compare compared involved"
    " related relationship important kind kinds type types".split()
)
_WORD = re.compile(r"[^\W_](?:[\w'’/+-]*[^\W_])?")
_ABBREVIATION = re.compile(r"(?=(?:.*[A-Z]){2})[A-Za-z0-9][\w/+-]{1,11}")


@dataclass(frozen=True, slots=True)
class Mention:
    """An entity at [start, end) of a text."""

    start: int
    end: int
    entity: Entity


class DictionaryExtractor:
    """Finds the things a dictionary knows. Safe to share between threads.

    `abbreviations` maps short forms to long forms that hold wherever the text comes from; definitions in the text
    itself are added to them.
    """

    def __init__(self, lexicon: Lexicon, *, abbreviations: Mapping[str, str] | None = None) -> None:
        self.lexicon = lexicon
        self._abbreviations = {short: lexicon.find(long) for short, long in (abbreviations or {}).items()}

    @property
    def fingerprint(self) -> str:
        """Version of the rules and word lists: "dictionary-" and 12 hexadecimal digits."""
        return f"dictionary-{hashlib.sha256(f'{_RULES_VERSION}:{self.lexicon.fingerprint}'.encode()).hexdigest()[:12]}"

    def for_document(self, text: str) -> DictionaryExtractor:
        """An extractor that also knows the abbreviations defined anywhere in a document's text."""
        return DictionaryExtractor(self.lexicon, abbreviations=find_abbreviations(text))

    def extract(self, text: str) -> Extraction:
        """The most mentioned entities of one passage, and the pairs of them that stand side by side in a sentence."""
        mentions = self.mentions(text)
        entities = _chosen(mentions)
        kept = {entity.name for entity in entities}
        relations = _relations(text, [mention for mention in mentions if mention.entity.name in kept])
        return Extraction(entities=entities, relations=relations)

    def mentions(self, text: str) -> list[Mention]:
        """Every mention, in order and without overlap."""
        stream = list(tokens(text))
        lipids = {mention.start: mention for mention in _lipid_mentions(text)}
        meanings = self._meanings(text)
        found: list[Mention] = []
        position = covered = 0
        while position < len(stream):
            token = stream[position]
            if lipid := lipids.get(token.start):
                found.append(lipid)
                covered = lipid.end
            if token.start < covered:
                position += 1
                continue
            length, entry = self._longest(stream, position, meanings)
            if entry and not _is_part(text, stream, position, position + length, entry):
                found.append(Mention(token.start, stream[position + length - 1].end, _entity(entry)))
            position += max(length, 1)
        return [each for each, after in zip_longest(found, found[1:]) if not (after and _is_salt(text, each, after))]

    def keywords(self, question: str) -> Keywords:
        """What a question is about; for a question of at least one word neither part is empty."""
        named = self.mentions(question)
        low = [name for mention in named for name in (question[mention.start : mention.end], mention.entity.name)]
        words = _WORD.findall(question)
        low += (word for word in words if _ABBREVIATION.fullmatch(word) and not any(word in name for name in low))
        content = [word for word in words if _is_content(word)] or words or question.split()
        high = _phrases(question) or content
        return Keywords(high=_distinct(high), low=_distinct(low or _longest_first(content)))

    def names(self, text: str) -> tuple[str, ...]:
        """The named things in a text, each once, in order of appearance; methods and specimens are none."""
        named = (mention.entity for mention in self.mentions(text) if mention.entity.type not in _KEPT_LAST)
        return tuple(dict.fromkeys(entity.name for entity in named))

    def variants(self, name: str) -> tuple[str, ...]:
        """Other names of a thing: the one it goes by, for a group its members, then the commonest."""
        entry = self.lexicon.find(name)
        if entry is None:
            return ()
        key = name_key(name)
        return tuple(other for other in (entry.name, *entry.synonyms) if name_key(other) != key)

    def synonyms(self, text: str) -> tuple[str, ...]:
        """Names to search for besides those in the text, at most twelve, shared fairly among the things it names."""
        present = name_key(text)
        lists = [
            [other for other in self.variants(name) if name_key(other) not in present]
            for name in dict.fromkeys(text[mention.start : mention.end] for mention in self.mentions(text))
        ]
        ranks = range(max(map(len, lists), default=0))
        return _distinct((each[rank] for rank in ranks for each in lists if rank < len(each)), most=MOST_SYNONYMS)

    def _meanings(self, text: str) -> _Meanings:
        """What the abbreviations defined for this text or in it mean."""
        here = {short: self.lexicon.find(long) for short, long in find_abbreviations(text).items()}
        return _Meanings(self._abbreviations | here)

    def _longest(self, stream: Sequence[Token], start: int, meanings: _Meanings) -> tuple[int, Entry | None]:
        """The longest name at a place and its meaning; (0, None) when none begins there."""
        if stream[start].raw in _STOP_WORDS:
            return 0, None
        own = meanings.longest(stream, start)
        match = self.lexicon.longest(stream, start)
        if match is None or match.length <= own[0] or _shouted(stream[start : start + match.length], match.by_symbol):
            return own
        return match.length, self.lexicon.entry(match.entry)


class _Meanings:
    """What a document's abbreviations mean; None for those that the dictionary cannot tell."""

    def __init__(self, meanings: Mapping[str, Entry | None]) -> None:
        self._by_tokens = {tuple(token.raw for token in tokens(short)): entry for short, entry in meanings.items()}
        self._by_tokens |= {(*raw[:-1], f"{raw[-1]}s"): entry for raw, entry in self._by_tokens.items() if raw}
        self._firsts = {raw[0] for raw in self._by_tokens if raw}
        self._lengths = sorted({len(raw) for raw in self._by_tokens}, reverse=True)

    def longest(self, stream: Sequence[Token], start: int) -> tuple[int, Entry | None]:
        if stream[start].raw in self._firsts:
            for length in self._lengths:
                run = stream[start : start + length]
                raw = tuple(token.raw for token in run)
                if raw in self._by_tokens and all(token.gap is not Gap.CLOSED for token in run[1:]):
                    return len(raw), self._by_tokens[raw]
        return 0, None


def _entity(entry: Entry) -> Entity:
    return Entity(name=entry.name, type=entry.type, identifiers=entry.identifiers)


def _lipid_mentions(text: str) -> Iterator[Mention]:
    """Lipids in shorthand notation, under one spelling: PC(34:1), PC aa C34:1 and PC 34:1 are the same."""
    if ":" in text:
        for match in _LIPID.finditer(text):
            name = f"{_LIPID_CLASSES[match['head'].upper()]} {match['chains'].rstrip('(;')}"
            if match["head"][0].isupper() or match["head"].startswith("lyso"):
                yield Mention(match.start(), match.end(), Entity(name=name, type=EntityType.LIPID.value))
    if "carnitine" in text:
        for match in _ACYLCARNITINE.finditer(text):
            yield Mention(match.start(), match.end(), Entity(name=f"CAR {match['chain']}", type=EntityType.LIPID.value))


def _shouted(found: Sequence[Token], by_symbol: bool) -> bool:
    """Whether a short name stands in capitals that its list does not give it: more likely an abbreviation."""
    return not by_symbol and len(found) == 1 and len(found[0].raw) < 6 and found[0].raw.isupper()


def _is_salt(text: str, mention: Mention, after: Mention) -> bool:
    """Whether a metal only says which salt of the compound after it is meant (sodium heparin)."""
    beside = text[mention.end : after.start] == " "
    return beside and mention.entity.name in _SALTS and after.entity.type in COMPOUND_TYPES


def _is_part(text: str, stream: Sequence[Token], start: int, end: int, entry: Entry) -> bool:
    """Whether the name at [start, end) of the tokens is only a part of a longer name the dictionary does not know."""
    if end < len(stream) and stream[end].gap in _WITHIN_A_NAME:
        after, attached = stream[end].norm, text[stream[end - 1].end] in "-‐‑"
        if _HEAD_NOUN.fullmatch(after) and after not in _NOT_AN_ENZYME:
            return True
        if entry.type == EntityType.SPECIMEN and after in _NOT_A_SPECIMEN:
            return True
        if attached and (after.isdigit() or len(after) == 1 or after.endswith(("yl", "ase", "oate", "oic"))):
            return True
    first = stream[start]
    attached = start > 0 and first.gap is Gap.TIGHT and text[first.start - 1] in "-‐‑)]'′"
    return attached and _CHEMICAL_PREFIX.fullmatch(stream[start - 1].norm) is not None


def _chosen(mentions: Iterable[Mention]) -> tuple[Entity, ...]:
    """The entities kept: named things before methods and specimens, then by mentions, then as they come."""
    entities = {mention.entity.name: mention.entity for mention in mentions}
    counts = Counter(mention.entity.name for mention in mentions)
    order = sorted(entities, key=lambda name: (entities[name].type in _KEPT_LAST, -counts[name]))
    return tuple(entities[name] for name in order[:MOST_ENTITIES])


def _relations(text: str, mentions: Sequence[Mention]) -> tuple[Relation, ...]:
    """Neighbouring entities of each sentence, each pair once, with the first sentence that names both."""
    found: dict[frozenset[str], Relation] = {}
    for start, end in split_sentences(text):
        inside = [mention.entity.name for mention in mentions if start <= mention.start < end]
        for source, target in pairwise(inside):
            if source != target:
                relation = Relation(source=source, target=target, sentence=text[start:end])
                found.setdefault(frozenset((source, target)), relation)
    return tuple(found.values())[:MOST_RELATIONS]


def _is_content(word: str) -> bool:
    lowered = word.lower()
    return lowered not in _STOP_WORDS and lowered not in _ABOUT_THE_QUESTION and (len(word) > 2 or word.isupper())


def _phrases(question: str) -> list[str]:
    """Runs of content words, as they stand in the question."""
    phrases: list[str] = []
    end = None
    for match in _WORD.finditer(question):
        if not _is_content(match.group()):
            end = None
        elif end is not None and question[end : match.start()].isspace():
            phrases[-1] = f"{phrases[-1]} {match.group()}"
            end = match.end()
        else:
            phrases.append(match.group())
            end = match.end()
    return phrases


def _longest_first(words: Iterable[str]) -> list[str]:
    """Long words are rare words: Zipf's law of abbreviation stands in for a table of frequencies."""
    return sorted(words, key=len, reverse=True)[:4]


def _distinct(names: Iterable[str], *, most: int = MOST_KEYWORDS) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(name.casefold(), name)
    return tuple(seen.values())[:most]
