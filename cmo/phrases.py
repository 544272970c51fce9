"""Our own sentences for people, which can be said in other languages later than they were made.

Whoever makes a sentence knows what it says, whoever shows it knows the language. In between it is a text like any
other, in English. Nothing here knows a translation (cmo/translation/phrases.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Phrase(str):
    """A sentence in English, which remembers its `template` and the `values` put into it.

    Copies remember them, too. Made by cutting, joining or storing it, a text is plain English again; `joined` keeps
    several sentences apart.
    """

    template: str
    values: Mapping[str, object]

    __slots__ = ("template", "values")

    def __new__(cls, template: str, /, **values: object) -> Phrase:
        """`template` as for str.format; it is what translators see. Values that are phrases are translated, too."""
        phrase = super().__new__(cls, template.format(**values))
        phrase.template = template
        phrase.values = values
        return phrase

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, object]]:
        """What a copy is made from."""
        return (self.template,), dict(self.values)


def joined(texts: Iterable[str], separator: str = " ") -> Phrase:
    """Several sentences as one text, or several words as a list; each is translated by itself."""
    values = {f"part{number}": text for number, text in enumerate(texts)}
    return Phrase(separator.join(f"{{{name}}}" for name in values), **values)
