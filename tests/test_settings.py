from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cmo.errors import SettingsError
from cmo.logs import LogFormat, LogLevel
from cmo.settings import Environment, Settings, Variable, load_settings, variables


def load(env_file: Path | None = None, **environ: str) -> Settings:
    return load_settings(environ, env_file=env_file)


def env_file(folder: Path, text: str) -> Path:
    file = folder / ".env"
    file.write_text(text, encoding="utf-8")
    return file


def test_nothing_has_to_be_set() -> None:
    settings = load()
    assert settings.environment is Environment.DEVELOPMENT
    assert settings.papers_dir == Path.cwd() / "papers"
    assert settings.storage_dir == Path.cwd() / "lightrag_storage"
    assert settings.lightrag_enabled


@pytest.mark.parametrize("name", ["LIGHTRAG_INTEGRATION_ENABLED", "LIGHTRAG_ENABLED"])
def test_an_alias_sets_the_same(name: str) -> None:
    assert not load(**{name: "false"}).lightrag_enabled


def test_the_first_name_wins_over_its_aliases() -> None:
    assert load(LIGHTRAG_ENABLED="false", LIGHTRAG_INTEGRATION_ENABLED="true").lightrag_enabled


def test_an_empty_first_name_leaves_the_word_to_its_alias() -> None:
    assert not load(LIGHTRAG_ENABLED="false", LIGHTRAG_INTEGRATION_ENABLED=" ").lightrag_enabled


ANOTHER = {
    "ENVIRONMENT": "staging",
    "DATABASE_URL": "sqlite+aiosqlite:////x.db",
    "LOG_LEVEL": "ERROR",
    "LOG_FORMAT": "json",
    "LIGHTRAG_FORCE_USER_COHORT": "perplexity",
    "LIGHTRAG_MIN_QUALITY_THRESHOLD": "0.9",
    "LIGHTRAG_COST_ALERT_THRESHOLD": "0.9",
    "LIGHTRAG_EXTRACTION": "model",
    "LIGHTRAG_QUERY_MODE": "naive",
    "PERPLEXITY_WIRE_FORMAT": "chat_completions",
    "PERPLEXITY_SEARCH_CONTEXT": "low",
    "PERPLEXITY_DOMAINS": "hmdb.ca",
    "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    "PERPLEXITY_BASE_URL": "http://127.0.0.1:1",
    "CMO_CACHE_URL": "disk://",
    "CMO_QUALITY_JUDGE": "model",
    "CMO_SECOND_OPINION_BELOW": "0.5",
    "CMO_TRANSLATION": "mymemory",
    "LIBRETRANSLATE_URL": "http://127.0.0.1:1",
    "CMO_FLAGS_FROM": "environment",
    "CMO_FLAGS": "new_ranking=25",
}
"""Values that are no default, for the variables that cannot be 77 or a path or a long text."""


@pytest.mark.parametrize(
    ("variable", "name"), [(variable, name) for variable in variables() for name in variable.names]
)
def test_every_name_of_every_variable_is_read(variable: Variable, name: str) -> None:
    value = "77" if variable.allowed.startswith(("a number", "a whole number")) else "/x" * 20
    if variable.allowed == "true or false":
        value = "false" if variable.default == "true" else "true"
    with_model = {"OPENAI_API_KEY": "k"} if name == "CMO_QUALITY_JUDGE" else {}
    assert load(**with_model, **{name: ANOTHER.get(variable.names[0], value)}) != load(**with_model)


def test_names_are_found_whatever_their_case() -> None:
    assert load(log_level="error").log_level is LogLevel.ERROR


def test_the_file_counts_where_the_environment_is_silent(tmp_path: Path) -> None:
    file = env_file(tmp_path, "CMO_MAX_PAGES=7\nCMO_TOP_K='9'  # quoted\n")
    settings = load(file, CMO_TOP_K="5")
    assert (settings.max_pages, settings.top_k) == (7, 5)


def test_an_alias_in_the_environment_wins_over_the_first_name_in_the_file(tmp_path: Path) -> None:
    file = env_file(tmp_path, "LIGHTRAG_INTEGRATION_ENABLED=true\n")
    assert not load(file, LIGHTRAG_ENABLED="false").lightrag_enabled


def test_an_empty_variable_leaves_the_word_to_the_file(tmp_path: Path) -> None:
    assert load(env_file(tmp_path, "CMO_TOP_K=9\n"), CMO_TOP_K="").top_k == 9


def test_a_missing_file_is_no_error(tmp_path: Path) -> None:
    assert load(tmp_path / "nothing") == load()


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"CMO_TOP_K=\xff\xfe5")
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        load(file)


def test_unknown_variables_are_ignored(tmp_path: Path) -> None:
    assert load(env_file(tmp_path, "SOMETHING_ELSE=1\nCMO_UNHEARD_OF=2\n"), PATH="/bin", CMO_NOT_YET="3") == load()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ENVIRONMENT", "moon", 'ENVIRONMENT is "moon". Allowed: development or staging or production.'),
        ("LIGHTRAG_ENABLED", "perhaps", 'LIGHTRAG_ENABLED is "perhaps". Allowed: true or false.'),
        ("CMO_MAX_PAGES", "many", 'CMO_MAX_PAGES is "many". Allowed: a whole number from 1 to 100000.'),
        ("CMO_MAX_PAGES", "0", 'CMO_MAX_PAGES is "0". Allowed: a whole number from 1 to 100000.'),
        ("CMO_TOP_K", "2.5", 'CMO_TOP_K is "2.5". Allowed: a whole number from 1 to 200.'),
        ("CMO_ANSWER_TIMEOUT_SECONDS", "nan", 'CMO_ANSWER_TIMEOUT_SECONDS is "nan". Allowed: a number from 1 to 600.'),
        ("LIGHTRAG_LOG_LEVEL", "loud", 'LIGHTRAG_LOG_LEVEL is "loud". Allowed: DEBUG or INFO or WARNING or ERROR.'),
        ("LOG_FORMAT", "xml", 'LOG_FORMAT is "xml". Allowed: json or plain.'),
    ],
)
def test_a_wrong_value_is_told_with_its_variable_and_what_is_allowed(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as told:
        load(**{name: value})
    assert str(told.value) == message


def test_every_wrong_value_gets_its_line() -> None:
    with pytest.raises(SettingsError) as told:
        load(CMO_TOP_K="0", LOG_LEVEL="loud", CMO_MAX_PAGES="5")
    assert [line.split()[0] for line in str(told.value).splitlines()] == ["CMO_TOP_K", "LOG_LEVEL"]


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("CMO_TRANSLATION", "libretranslate", "LIBRETRANSLATE_URL"),
        ("CMO_TRANSLATION", "model", "OPENAI_API_KEY or OPENAI_BASE_URL"),
        ("CMO_QUALITY_JUDGE", "model", "OPENAI_API_KEY or OPENAI_BASE_URL"),
    ],
)
def test_a_choice_that_needs_another_setting_says_which(name: str, value: str, needs: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is {value}, so {needs} has to name"):
        load(**{name: value})


def test_a_secret_is_never_shown() -> None:
    with pytest.raises(SettingsError) as told:
        load(CHAINLIT_AUTH_SECRET="too-short-secret")
    assert str(told.value) == "CHAINLIT_AUTH_SECRET has a wrong value. Allowed: a text of at least 32 characters."
    assert told.value.__cause__ is not None
    assert "too-short" not in str(told.value.__cause__)
    assert "s3cr3t" not in repr(load(CHAINLIT_AUTH_SECRET="s3cr3t" * 8))


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter22@host/db", "sqlite:///x.db", "sqlite+aiosqlite:///:memory:", "x"]
)
def test_another_database_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL .* Allowed: sqlite\+aiosqlite:///PATH\.$") as told:
        load(DATABASE_URL=url)
    assert "hunter22" not in str(told.value)


def test_the_database_lies_in_the_storage_folder_unless_it_is_named(tmp_path: Path) -> None:
    assert load(CMO_STORAGE_DIR=str(tmp_path)).database == f"sqlite+aiosqlite:///{tmp_path}/cmo.sqlite3"
    assert load(DATABASE_URL="sqlite+aiosqlite:////var/x.db").database == "sqlite+aiosqlite:////var/x.db"


def test_logs_are_for_reading_in_development_and_json_elsewhere() -> None:
    assert load().log_lines is LogFormat.PLAIN
    assert load(ENVIRONMENT="Production").log_lines is LogFormat.JSON
    assert load(ENVIRONMENT="production", LOG_FORMAT="plain").log_lines is LogFormat.PLAIN


def test_paths_are_absolute_and_know_the_home_folder() -> None:
    settings = load(CMO_PAPERS_DIR="~/my papers", CMO_STORAGE_DIR="x/../y")
    assert settings.papers_dir == Path.home() / "my papers"
    assert settings.storage_dir.is_absolute()


def test_the_cache_follows_xdg_unless_it_is_named(tmp_path: Path) -> None:
    assert load().cache_dir == Path.home() / ".cache" / "cmo"
    assert load(XDG_CACHE_HOME=str(tmp_path)).cache_dir == tmp_path / "cmo"
    assert load(XDG_CACHE_HOME="relative").cache_dir == Path.home() / ".cache" / "cmo"
    assert load(XDG_CACHE_HOME=str(tmp_path), CMO_CACHE_DIR="/c").cache_dir == Path("/c")


def test_settings_made_by_hand_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMO_TOP_K", "3")
    assert Settings(max_pages=4).top_k == 80
    assert load_settings(env_file=None).top_k == 3


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load().top_k = 3  # type: ignore[misc]


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30))
def test_any_text_is_either_a_whole_number_in_range_or_refused_in_one_line(text: str) -> None:
    try:
        told, top_k = "", load(CMO_TOP_K=text).top_k
    except SettingsError as error:
        told, top_k = str(error), 1
    assert not told or (told.startswith("CMO_TOP_K is ") and len(told.splitlines()) == 1)
    assert 1 <= top_k <= 200
