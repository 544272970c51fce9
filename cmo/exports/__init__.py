"""Answers as files for other programs: Markdown to read, BibTeX, RIS and CSL-JSON for reference managers.

Pure: values in, text out. Titles, names and quotes come from PDFs and from the web, so each writer makes sure that no
text can end its field, its entry or its line. Nothing here knows where files are kept or how they are offered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from cmo.exports import bibtex, csl_json, markdown, ris
from cmo.exports.references import Exchange, references

__all__ = ["FORMATS", "Exchange", "ExportFormat", "Format", "format_of"]


class ExportFormat(StrEnum):
    """What an answer can be exported as."""

    MARKDOWN = "markdown"
    BIBTEX = "bibtex"
    RIS = "ris"
    CSL_JSON = "csl-json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format's name for people, how its files end, their media type, and how questions and answers become one."""

    label: str
    suffix: str
    media_type: str
    write: Callable[[Sequence[Exchange]], str]


FORMATS = MappingProxyType(
    {
        ExportFormat.MARKDOWN: Format(
            label="Markdown", suffix=".md", media_type="text/markdown", write=markdown.written
        ),
        ExportFormat.BIBTEX: Format(
            label="BibTeX",
            suffix=".bib",
            media_type="application/x-bibtex",
            write=lambda exchanges: bibtex.written(references(exchanges)),
        ),
        ExportFormat.RIS: Format(
            label="RIS",
            suffix=".ris",
            media_type="application/x-research-info-systems",
            write=lambda exchanges: ris.written(references(exchanges)),
        ),
        ExportFormat.CSL_JSON: Format(
            label="CSL-JSON",
            suffix=".json",
            media_type="application/vnd.citationstyles.csl+json",
            write=lambda exchanges: csl_json.written(references(exchanges)),
        ),
    }
)


def format_of(suffix: str) -> ExportFormat | None:
    """The format whose files end so; None when none does."""
    return next((name for name, form in FORMATS.items() if form.suffix == suffix.lower()), None)
