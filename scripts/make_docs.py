"""Writes what is generated from the code: docs/settings.md and .env.example, from the settings' own descriptions."""

from __future__ import annotations

from pathlib import Path

from cmo.settings import Variable, variables

ROOT = Path(__file__).resolve().parents[1]

SETTINGS_HEAD = """\
# Settings

Every setting is an environment variable. A file named `.env` in the folder the application is started from is read,
too; a variable that is really set wins over it. An empty value counts as not set, unknown variables are ignored. A
wrong value stops the start with a sentence that names the variable, its value and what is allowed. Relative paths are
taken from the folder the application is started from.

This page is made by `make docs` from `cmo/settings.py`.

| variable | default | allowed | what it does |
|---|---|---|---|
"""

EXAMPLE_HEAD = """\
# Settings, with their defaults. Copy this file to .env and change what you need; nothing has to be set.
# Made by `make docs` from cmo/settings.py; docs/settings.md says more.
"""


def settings_page() -> str:
    """The text of docs/settings.md."""
    return SETTINGS_HEAD + "".join(_row(variable) for variable in variables())


def env_example() -> str:
    """The text of .env.example: every variable, commented out, with its default."""
    return EXAMPLE_HEAD + "".join(_lines(variable) for variable in variables())


def _row(variable: Variable) -> str:
    name, *others = variable.names
    also = f" Also read as {', '.join(f'`{other}`' for other in others)}." if others else ""
    default = f"`{variable.default}`" if variable.default else "none"
    return f"| `{name}` | {default} | {variable.allowed} | {variable.about}{also} |\n"


def _lines(variable: Variable) -> str:
    return f"\n# {variable.about}\n# Allowed: {variable.allowed}\n#{variable.names[0]}={variable.default}\n"


if __name__ == "__main__":
    (ROOT / "docs" / "settings.md").write_text(settings_page(), encoding="utf-8")
    (ROOT / ".env.example").write_text(env_example(), encoding="utf-8")
