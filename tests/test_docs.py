import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from dotenv import dotenv_values

from cmo.settings import load_settings, variables

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The script behind `make docs`."""
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_settings_page_is_what_make_docs_writes(made: ModuleType) -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == made.settings_page()


def test_the_example_file_is_what_make_docs_writes(made: ModuleType) -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == made.env_example()


def test_every_variable_and_alias_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for variable in variables():
        assert variable.about
        for name in variable.names:
            assert f"`{name}`" in page


def test_the_example_file_changes_nothing_even_with_its_values_switched_on(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    switched_on = tmp_path / ".env"
    switched_on.write_text(re.sub(r"(?m)^#(?=[A-Z_]+=)", "", example), encoding="utf-8")

    assert list(dotenv_values(switched_on)) == [variable.names[0] for variable in variables()]
    assert load_settings({}, env_file=switched_on) == load_settings({}, env_file=None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
