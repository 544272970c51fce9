import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from cmo.translation.phrases import LANGUAGES

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-data.txt")


def locked(file: str) -> dict[str, str]:
    """Name and version of every package of a lock."""
    return dict(re.findall(r"(?m)^([a-z0-9.-]+)(?:\[.*?\])?==(\S+)", (ROOT / file).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found.group().lower().replace("_", "-")


@pytest.mark.parametrize("file", LOCKS)
def test_every_locked_package_has_hashes(file: str) -> None:
    blocks = re.split(r"(?m)^(?=[a-z0-9])", (ROOT / file).read_text(encoding="utf-8"))
    assert [block.split()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("file", LOCKS)
def test_no_lock_names_a_host(file: str) -> None:
    assert "://" not in (ROOT / file).read_text(encoding="utf-8")


def test_what_the_project_asks_for_is_locked(project: dict[str, Any]) -> None:
    asked = {name_of(requirement) for requirement in project["project"]["dependencies"]}
    for_development = {name_of(requirement) for requirement in project["dependency-groups"]["dev"]}
    assert asked <= locked("requirements.txt").keys()
    assert asked | for_development <= locked("requirements-dev.txt").keys()


def test_development_runs_on_the_versions_users_get() -> None:
    users, developers = locked("requirements.txt"), locked("requirements-dev.txt")
    assert {name: developers.get(name) for name in users} == users


@pytest.mark.parametrize("package", ["litellm", "torch", "sentence-transformers", "transformers"])
def test_what_must_not_come_along_does_not(package: str) -> None:
    assert not any(package in locked(file) for file in LOCKS)


def test_data_wheels_are_locked_apart() -> None:
    assert not locked("requirements-data.txt").keys() & locked("requirements-dev.txt").keys()


def test_importing_the_vocabulary_loads_no_heavy_library() -> None:
    heavy = ("chainlit", "lightrag", "onnxruntime", "sqlalchemy", "pandas")
    code = (
        f"import sys, cmo.values, cmo.errors, cmo.settings, cmo.logs; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_migrations_travel_with_the_package() -> None:
    import cmo.storage.database

    folder = Path(cmo.storage.database.__file__).parent / "migrations"
    assert (folder / "env.py").is_file()
    assert list(folder.glob("versions/0001_*.py"))


@pytest.mark.parametrize("builder", [WheelBuilder, SdistBuilder])
def test_translations_travel_with_the_package(builder: type[WheelBuilder | SdistBuilder]) -> None:
    packed = {file.relative_path for file in builder(str(ROOT)).recurse_included_files()}
    assert {f"cmo/translation/phrases/{language}.po" for language in LANGUAGES} <= packed


def test_the_installed_command_is_cmo() -> None:
    assert requires("clinical-metabolomics-oracle")
    assert (Path(sys.executable).parent / "cmo").is_file()
