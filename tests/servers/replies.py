"""What the fake language model writes: sentences out of the passages in its prompt, and plausible JSON.

It understands nothing. It is only meant to give the application something to work with that fits the question. It
refuses to know how an answer travels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.servers.faults import Fault

_ELEMENT = re.compile(r'^<(\w+)[^>\n]*?\b(?:n|id|number)="(\d{1,3})"[^>\n]*>(.*?)^</\1\b', re.MULTILINE | re.DOTALL)
_CITING = re.compile(r'^<sentence n="(\d+)" cites="([\d ]*)"[^>\n]*>(.*?)^</sentence\b', re.MULTILINE | re.DOTALL)
_BRACKETED = re.compile(r"^\[(\d{1,3})\](.*?)(?=^\[\d|^question\b|\Z)", re.MULTILINE | re.DOTALL | re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_WORD = re.compile(r"[^\W_]{4,}")
_PIECE = re.compile(r"\s*\S+|\s+$")
_QUESTION = re.compile(r"(?im)^\W*(?:question|query|user query)\W*:\s*(.+)$")
_REFUSAL = re.compile(r"exactly ([A-Z]{2,}(?: [A-Z]{2,})+)")
_REWRITING = re.compile(r"(?i)follow-?up|stand-?alone|rewrit")
_NAME = re.compile(r"(?i)\b\w{2,}(?:ose|ate|ine|ol|acid|emia|aemia|etes|osis|itis|metry|scopy)s?\b")

_CITED = re.compile(r"\s*\[(?:web:)?\d+(?:,\s*(?:web:)?\d+)*\]")

STRAY = "See also https://made-up.example/paper [99] [web:7]."
"""Text with markers that name nothing."""

PASSAGES_USED = 3
"""An answer cites at most so many."""

LEAST_WORDS = 5
"""Shorter sentences are headings and scraps."""


def pieces(text: str) -> list[str]:
    """A text as its tokens: one for each word, with the white space before it."""
    return _PIECE.findall(text)


def badly_sourced(text: str, fault: Fault) -> str:
    """The text with its markers as the fault wants them: gone, or joined by some that name nothing. JSON has none."""
    if fault is Fault.NO_SOURCES:
        return _CITED.sub("", text)
    if fault is Fault.STRAY_MARKERS and not text.startswith("{"):
        return f"{text} {STRAY}".strip()
    return text


def reply_to(body: Mapping[str, Any]) -> str:
    """What the fake model writes in answer to a chat completion's request."""
    system, user = _said(body, "system", "developer"), _said(body, "user")
    if schema := _schema(body):
        return json.dumps(_of_schema(schema, user))
    if _wants_json(body, system + user):
        return json.dumps(_json_for(system, user))
    if passages := numbered_passages(user):
        refusal = _REFUSAL.search(system)
        return cited_answer(_question(user), passages, otherwise=refusal[1] if refusal else "No passage answers this.")
    if _REWRITING.search(system + user):
        return _rewritten(user)
    return f"This is the test server, which has no opinion on: {_question(user)}"


def numbered_passages(text: str) -> dict[int, str]:
    """The passages of a prompt by their numbers: elements with a number, or else lines that begin with [1]."""
    if elements := {int(number): inside.strip() for _, number, inside in _ELEMENT.findall(text)}:
        return elements
    return {int(number): inside.strip() for number, inside in _BRACKETED.findall(text)}


def cited_answer(question: str, passages: Mapping[int, str], *, otherwise: str) -> str:
    """The sentence of each passage that shares most words with the question, with the passage's number.

    `otherwise` is the answer when no passage shares any.
    """
    asked = _words(question)
    found = []
    for number, passage in passages.items():
        shared = [(len(asked & _words(sentence)), sentence) for sentence in _whole_sentences(passage)]
        most, best = max(shared, default=(0, ""), key=lambda each: each[0])
        if most:
            found.append((-most, number, best))
    best_first = sorted(found)[:PASSAGES_USED]
    return " ".join(f"{_before_stop(sentence)} [{number}]." for _, number, sentence in best_first) or otherwise


def _whole_sentences(text: str) -> list[str]:
    """The sentences of a passage without its headings and scraps."""
    return [each for each in _sentences(text) if each[-1] in ".!?" and len(each.split()) >= LEAST_WORDS]


def _before_stop(sentence: str) -> str:
    return " ".join(sentence.split()).rstrip(".")


def _sentences(text: str) -> Sequence[str]:
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def _said(body: Mapping[str, Any], *roles: str) -> str:
    messages = body.get("messages", ())
    return "\n".join(_content(message.get("content")) for message in messages if message.get("role") in roles)


def _content(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content if isinstance(content, str) else ""


def _question(text: str) -> str:
    if named := _QUESTION.findall(text):
        return str(named[-1]).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line.endswith("?")), lines[-1] if lines else "")


def _rewritten(text: str) -> str:
    """The last line, which is the question, completed by the one before it."""
    lines = [line.strip(" -*\t") for line in text.splitlines()]
    *_, before, asked = ["", "", *(line for line in lines if line and not line.endswith(":"))]
    return f"{before.rstrip('?')} {asked}".strip()


def _wants_json(body: Mapping[str, Any], text: str) -> bool:
    kind = (body.get("response_format") or {}).get("type")
    return kind == "json_object" or ("high_level_keywords" in text and "low_level_keywords" in text)


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    given = (body.get("response_format") or {}).get("json_schema") or {}
    schema: Mapping[str, Any] | None = given.get("schema")
    return schema


def _json_for(system: str, user: str) -> dict[str, Any]:
    if "high_level_keywords" in system + user:
        question = _question(user)
        return {"high_level_keywords": sorted(_words(question)), "low_level_keywords": _names(question)}
    if '"verdicts"' in system:
        return {"verdicts": _verdicts(user)}
    if "entities" in system + user:
        return _extracted(system, user)
    return {"answer": _question(user)}


def _verdicts(text: str) -> list[dict[str, Any]]:
    """A verdict on each sentence of a prompt: supported by that of its passages which shares most words, or by none."""
    passages = {int(number): inside.strip() for tag, number, inside in _ELEMENT.findall(text) if tag == "passage"}
    return [
        _verdict(int(number), inside, map(int, cites.split()), passages)
        for number, cites, inside in _CITING.findall(text)
    ]


def _verdict(number: int, text: str, cited: Iterable[int], passages: Mapping[int, str]) -> dict[str, Any]:
    wanted = _words(text)
    sentences = [sentence for passage in cited for sentence in _sentences(passages.get(passage, ""))]
    best = max(sentences, key=lambda sentence: len(wanted & _words(sentence)), default="")
    if 2 * len(wanted & _words(best)) < len(wanted):
        return {"sentence": number, "verdict": "not_found", "quote": ""}
    return {"sentence": number, "verdict": "supported", "quote": " ".join(best.split())}


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.lower() for name in _NAME.findall(text)))


def _extracted(system: str, user: str) -> dict[str, Any]:
    """Entities and their pairs, in the shape LightRAG's prompt for JSON asks for, or under the name that is asked."""
    text = user.rpartition("---Input Text---")[2]
    names = _names(text)
    relations = "relations" if '"relations"' in system else "relationships"
    entities = [{"name": name, "type": "Metabolite", "description": f"{name} is named in the text."} for name in names]
    pairs = [
        (first, second, sentence)
        for sentence in _sentences(text)
        for first, second in zip(_names(sentence), _names(sentence)[1:], strict=False)
    ]
    linked = [
        {"source": first, "target": second, "keywords": "named together", "description": " ".join(sentence.split())}
        for first, second, sentence in pairs
    ]
    return {"entities": entities, relations: linked}


def _of_schema(schema: Mapping[str, Any], text: str) -> Any:
    """The plainest value that a JSON schema allows; texts repeat the question."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: _of_schema(each, text) for name, each in schema.get("properties", {}).items()}
        case "array":
            return []
        case "string":
            return _question(text)
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None
