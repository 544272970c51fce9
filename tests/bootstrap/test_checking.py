"""What checks answers of people and of shadows."""

from pathlib import Path

import pytest

from cmo.bootstrap import checking
from cmo.bootstrap.answering import open_application
from cmo.quality.custom import Registered
from cmo.settings import load_settings


async def test_assessors_of_installed_packages_are_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load() -> Registered:
        loads.append("loaded")
        return Registered()

    monkeypatch.setattr(checking, "load_registered", load)
    async with open_application(load_settings({"CMO_STORAGE_DIR": str(tmp_path)}, env_file=None)):
        assert loads == ["loaded"]
