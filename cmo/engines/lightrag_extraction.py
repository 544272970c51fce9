"""Our extractor where LightRAG expects a language model: text out of its prompt, JSON back in.

The text stands in the prompt between two pieces of a template; they are taken from the installed template, since its
wording has changed from version to version. Nothing here knows storages, threads or documents.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cmo.errors import LibraryError
from cmo.interfaces import GraphExtractor
from cmo.values import Entity, Extraction, Relation

LanguageModelCall: TypeAlias = Callable[..., Awaitable[str]]

MOST_IDENTIFIERS = 3
RELATION_KEYWORDS = "mentioned together"
UNTYPED = "Thing"

# LightRAG drops an entity whose type holds one of these.
_BAD_IN_TYPE = str.maketrans(dict.fromkeys("'()<>|/\\,", " "))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What stands right before and right after the text in LightRAG's extraction prompt."""

    before: str
    after: str

    @classmethod
    def of_template(cls, template: str) -> Fence:
        """The fence of a template with the placeholder {input_text}.

        Raises:
            LibraryError: the template has no such placeholder, or nothing around it to find it by.
        """
        before, _, after = template.partition("{input_text}")
        fence = cls(before=before.rpartition("}")[2], after=after.partition("{")[0].rstrip())
        if not fence.before.strip() or not fence.after.strip():
            raise LibraryError("This version of LightRAG asks for entities in an unknown way: install the pinned one.")
        return fence

    def text_in(self, prompt: str) -> str:
        """The text in a prompt.

        Raises:
            LibraryError: the prompt is not an extraction prompt.
        """
        start = prompt.find(self.before)
        end = prompt.rfind(self.after)
        if start < 0 or end < start + len(self.before):
            raise LibraryError("LightRAG asked for something other than entities: install the pinned version.")
        return prompt[start + len(self.before) : end]


class CharacterTokenizer:
    """Counts characters as tokens, which is exact, reversible and costs next to nothing."""

    def encode(self, content: str) -> list[int]:
        """The code points of a text."""
        return array("I", content.encode("utf-32-le", "surrogatepass")).tolist()

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of code points."""
        return "".join(map(chr, tokens))


def extraction_model(extractor: GraphExtractor, fence: Fence) -> LanguageModelCall:
    """What LightRAG calls as its extraction model."""

    # A function and no method: LightRAG copies its configuration deeply, and a bound method would be copied with all
    # it is bound to.
    async def extract(prompt: str, **_: object) -> str:
        return extraction_json(await extractor.extract(fence.text_in(prompt)))

    return extract


async def no_model(*_: object, **__: object) -> str:
    """Refuse: LightRAG never has to ask for keywords, answers or pictures.

    Raises:
        LibraryError: always.
    """
    raise LibraryError("LightRAG asked for a language model, which it is never meant to do here.")


def extraction_json(extraction: Extraction) -> str:
    """An extraction as LightRAG's JSON, each entity and pair once.

    Descriptions depend on the thing alone and never on the passage: merged with those of other documents they stay as
    they are, so they need no summary and no second embedding.
    """
    entities = {entity.name: entity for entity in extraction.entities}
    pairs = sorted({_ends(relation) for relation in extraction.relations if relation.source != relation.target})
    return json.dumps(
        {
            "entities": [_entity(entity) for entity in entities.values()],
            "relationships": [_relation(*pair) for pair in pairs if entities.keys() >= set(pair)],
        },
        ensure_ascii=False,
    )


def _entity(entity: Entity) -> dict[str, str]:
    kind = " ".join(entity.type.translate(_BAD_IN_TYPE).split()) or UNTYPED
    description = "; ".join((kind, *entity.identifiers[:MOST_IDENTIFIERS]))
    return {"name": entity.name, "type": kind, "description": description}


def _relation(source: str, target: str) -> dict[str, str]:
    description = f"{source} and {target} are mentioned together."
    return {"source": source, "target": target, "keywords": RELATION_KEYWORDS, "description": description}


def _ends(relation: Relation) -> tuple[str, str]:
    return min(relation.source, relation.target), max(relation.source, relation.target)
