from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cmo.bootstrap.flags import open_flags
from cmo.bootstrap.money import SystemClock, open_database
from cmo.errors import SettingsError
from cmo.policy.flag_documents import flag_from
from cmo.policy.flags import FlagContext
from cmo.settings import load_settings
from cmo.storage.flags import Authorship, SqlFlags

ALICE = FlagContext(user_id="alice")


async def value(folder: Path, **variables: str) -> bool:
    """Whether "ranking" is on in a process with these settings; the database says it is."""
    settings = load_settings({"CMO_STORAGE_DIR": str(folder), **variables}, env_file=None)
    async with AsyncExitStack() as stack:
        database = await open_database(settings, stack)
        return (await open_flags(settings, database, SystemClock(), stack)).is_feature_enabled("ranking", ALICE)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    async with AsyncExitStack() as stack:
        database = await open_database(load_settings({"CMO_STORAGE_DIR": str(tmp_path)}, env_file=None), stack)
        by = Authorship(author="ann", reason="to try it", at=SystemClock().now())
        await SqlFlags(database).create(flag_from("ranking", {"status": "enabled"}), by)
    return tmp_path


async def test_flags_come_from_where_the_settings_say(folder: Path) -> None:
    file = folder / "flags.yaml"
    file.write_text("flags: {ranking: {status: disabled, environments: {staging: {status: enabled}}}}")
    assert await value(folder)
    assert not await value(folder, CMO_FLAGS_FROM="file", CMO_FLAGS_FILE=str(file))
    assert await value(folder, CMO_FLAGS_FROM="file", CMO_FLAGS_FILE=str(file), ENVIRONMENT="staging")
    assert not await value(folder, CMO_FLAGS_FROM="environment", CMO_FLAGS="ranking=off,other=on")
    assert await value(folder, CMO_FLAGS_FROM="environment", CMO_FLAGS="ranking=100")


async def test_a_file_that_cannot_be_read_stops_the_start(folder: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        await value(folder, CMO_FLAGS_FROM="file", CMO_FLAGS_FILE=str(folder / "none.yaml"))


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"CMO_FLAGS_FROM": "file"}, "CMO_FLAGS_FILE has to name one"),
        ({"CMO_FLAGS_FROM": "redis"}, "database or file or environment"),
        ({"CMO_FLAGS": "ranking"}, "NAME=on, NAME=off or NAME=25"),
        ({"CMO_FLAGS": "ranking=101"}, "NAME=on, NAME=off or NAME=25"),
        ({"CMO_FLAGS": "ranking=on,ranking=off"}, "NAME=on, NAME=off or NAME=25"),
    ],
)
def test_wrong_settings_stop_the_start(variables: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_settings(variables, env_file=None)
