"""Brings the catalogues of our own sentences, cmo/translation/phrases/*.po, up to date with the code.

New templates come in without a translation, those that are gone are removed, and translations are kept. With --check
nothing is written: what is missing or wrong is told, and the exit status is 1 when there is anything.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Formatter

import polib

from cmo.translation.phrases import LANGUAGES

ROOT = Path(__file__).resolve().parents[1]
CODE = ROOT / "cmo"
CATALOGUES = CODE / "translation" / "phrases"

UNREAD = "cmo/phrases.py"
"""Defines Phrase and puts sentences together that are translated by themselves."""

WIDTH = 110
"""Characters of a line in a catalogue, about."""


class UnknownTemplate(Exception):
    """A Phrase is made from a text that cannot be read in the code; names the line."""


def templates(code: Path = CODE) -> dict[str, list[str]]:
    """Every template in the code with the files it stands in, by file and line of its first use."""
    found: dict[str, list[str]] = {}
    for file in sorted(code.rglob("*.py")):
        name = file.relative_to(code.parent).as_posix()
        if name == UNREAD:
            continue
        for template in _templates_of(ast.parse(file.read_text(encoding="utf-8")), name):
            files = found.setdefault(template, [])
            if name not in files:
                files.append(name)
    return found


def merged(catalogue: polib.POFile, found: Mapping[str, Sequence[str]], language: str) -> polib.POFile:
    """The catalogue with exactly the templates found, in their order, and what translators have written."""
    known = {entry.msgid: entry for entry in catalogue}
    fresh = polib.POFile(wrapwidth=WIDTH)
    fresh.metadata = {
        "Project-Id-Version": "clinical-metabolomics-oracle",
        "Language": language,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
    }
    for template, files in found.items():
        before = known.get(template, polib.POEntry())
        flags = ["fuzzy"] * before.fuzzy + ["python-brace-format"] * bool(_placeholders(template))
        fresh.append(
            polib.POEntry(
                msgid=template,
                msgstr=before.msgstr,
                tcomment=before.tcomment,
                occurrences=[(file, "") for file in files],
                flags=flags,
            )
        )
    return fresh


def faults(catalogue: polib.POFile, found: Mapping[str, Sequence[str]], language: str) -> list[str]:
    """What is missing or wrong in a catalogue, a line each."""
    if str(catalogue) != str(merged(catalogue, found, language)):
        return [f"{language}: not up to date with the code; run `make phrases`."]
    return [f"{language}: {fault}: {entry.msgid!r}" for entry in catalogue for fault in _faults(entry)]


def read(language: str) -> polib.POFile:
    """The catalogue of a language; an empty one when there is none yet."""
    file = CATALOGUES / f"{language}.po"
    return polib.pofile(str(file), wrapwidth=WIDTH) if file.exists() else polib.POFile(wrapwidth=WIDTH)


def _templates_of(tree: ast.Module, name: str) -> Iterator[str]:
    """The first arguments of all calls of Phrase in their order; a constant of the same module may stand for one."""
    assigned = [statement for statement in tree.body if isinstance(statement, ast.Assign | ast.AnnAssign)]
    constants = {ast.unparse(_target(statement)): statement.value for statement in assigned}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node.func) == "Phrase"]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        argument = call.args[0] if len(call.args) == 1 else None
        if isinstance(argument, ast.Name):
            argument = constants.get(argument.id)
        if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
            raise UnknownTemplate(f"{name}:{call.lineno}: the template of a Phrase has to be a text in the code")
        yield argument.value


def _target(statement: ast.Assign | ast.AnnAssign) -> ast.expr:
    return statement.targets[0] if isinstance(statement, ast.Assign) else statement.target


def _called(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _faults(entry: polib.POEntry) -> Iterator[str]:
    if not entry.msgstr.strip() or entry.fuzzy:
        yield "not translated"
        return
    try:
        same = _placeholders(entry.msgstr) == _placeholders(entry.msgid)
    except ValueError:
        same = False
    if not same:
        yield f"other placeholders in {entry.msgstr!r}"
    if _code(entry.msgstr) != _code(entry.msgid):
        yield f"other code in {entry.msgstr!r}"


def _placeholders(template: str) -> Counter[tuple[str, str | None, str | None]]:
    """Names, formats and conversions of what is put into a template."""
    return Counter((name, form, kind) for _, name, form, kind in Formatter().parse(template) if name is not None)


def _code(template: str) -> Counter[str]:
    """What is to be typed as it stands, between backticks."""
    return Counter(re.findall(r"`[^`]+`", template))


def main(arguments: Sequence[str]) -> int:
    """Write the catalogues, or check them; the exit status."""
    found = templates()
    if "--check" in arguments:
        wrong = [fault for language in LANGUAGES for fault in faults(read(language), found, language)]
        print("\n".join(wrong) or f"{len(found)} templates in {len(LANGUAGES)} languages")
        return 1 if wrong else 0
    CATALOGUES.mkdir(exist_ok=True)
    for language in LANGUAGES:
        catalogue = merged(read(language), found, language)
        (CATALOGUES / f"{language}.po").write_text(f"{catalogue}", encoding="utf-8")
        print(f"{language}: {len(catalogue.translated_entries())} of {len(catalogue)} translated")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
