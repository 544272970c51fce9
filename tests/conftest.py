from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the project with papers and question sets for measuring; tests that use it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("the data folder beside the project is not here")
    return SHARED.resolve()
