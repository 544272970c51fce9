from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # times are for benchmarks
settings.load_profile("any machine")

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the project with papers and question sets for measuring; tests that use it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("the data folder beside the project is not here")
    return SHARED.resolve()


@pytest.fixture(scope="session", autouse=True)
def nobody_translates() -> Iterator[None]:
    """The default is a service on the internet; processes that tests start inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMO_TRANSLATION", "off")
        yield
