"""Every setting of the application: type, default, unit and one sentence each.

The only module that reads the environment, and only when `load_settings` is called; making a `Settings` by hand reads
nothing. It refuses to know what the settings are for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le, MinLen
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cmo.errors import SettingsError
from cmo.logs import LogFormat, LogLevel, redact

SECRET_CHARACTERS = 32
"""The least length of a signing secret: 256 bits are asked for by RFC 7518, section 3.2."""


class Environment(StrEnum):
    """Where the application runs."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


def _sqlite_url(url: str) -> str:
    if not re.match(r"sqlite\+aiosqlite:///[^:?]", url):
        raise ValueError("not a file URL of SQLite")
    return url


def _names(*names: str) -> AliasChoices:
    return AliasChoices(*names)


_UserPath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
_Lower = BeforeValidator(lambda value: value.strip().lower() if isinstance(value, str) else value)
_Upper = BeforeValidator(lambda value: value.strip().upper() if isinstance(value, str) else value)
_DatabaseUrl = Annotated[str, AfterValidator(_sqlite_url)]


class Settings(BaseSettings):
    """The settings of one process. Paths are absolute; relative ones are taken from the current folder."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, validate_default=True, hide_input_in_errors=True
    )

    environment: Annotated[Environment, _Lower] = Field(
        Environment.DEVELOPMENT,
        validation_alias=_names("ENVIRONMENT"),
        description="Where the application runs; picks the default of LOG_FORMAT.",
    )
    lightrag_enabled: bool = Field(
        True,
        validation_alias=_names("LIGHTRAG_INTEGRATION_ENABLED", "LIGHTRAG_ENABLED"),
        description="Whether the papers are searched through LightRAG's knowledge graph and vectors.",
    )

    papers_dir: _UserPath = Field(
        Path("papers"),
        validation_alias=_names("CMO_PAPERS_DIR", "LIGHTRAG_PAPERS_DIR"),
        description="The folder with the papers: PDF, text and Markdown files, sub-folders included.",
    )
    storage_dir: _UserPath = Field(
        Path("lightrag_storage"),
        validation_alias=_names("CMO_STORAGE_DIR", "LIGHTRAG_WORKING_DIR"),
        description="The folder for the index of the papers and for the database. One library, one folder.",
    )
    cache_dir: _UserPath = Field(
        Path("~/.cache/cmo"),
        validation_alias=_names("CMO_CACHE_DIR"),
        description="The folder for what can be made again: converted model weights, word lists. "
        "The default follows XDG_CACHE_HOME.",
    )
    max_file_mb: Annotated[int, Ge(1), Le(10_000)] = Field(
        200,
        validation_alias=_names("CMO_MAX_FILE_MB"),
        description="Larger files of the papers folder are not read, in megabytes.",
    )
    max_pages: Annotated[int, Ge(1), Le(100_000)] = Field(
        2_000,
        validation_alias=_names("CMO_MAX_PAGES"),
        description="Documents with more pages are not read.",
    )
    parse_timeout_seconds: Annotated[float, Ge(1), Le(3_600)] = Field(
        60.0,
        validation_alias=_names("CMO_PARSE_TIMEOUT_SECONDS"),
        description="How long reading one file may take before it is given up, in seconds.",
    )

    top_k: Annotated[int, Ge(1), Le(200)] = Field(
        80,
        validation_alias=_names("CMO_TOP_K"),
        description="How many passages are looked at for one question; those of the best three papers are read.",
    )
    answer_timeout_seconds: Annotated[float, Ge(1), Le(600)] = Field(
        60.0,
        validation_alias=_names("CMO_ANSWER_TIMEOUT_SECONDS"),
        description="How long finding one answer may take before it is given up, in seconds.",
    )

    database_url: _DatabaseUrl | None = Field(
        None,
        validation_alias=_names("DATABASE_URL"),
        description="The database with the record of questions. Without it: cmo.sqlite3 in the storage folder.",
    )

    log_level: Annotated[LogLevel, _Upper] = Field(
        LogLevel.INFO,
        validation_alias=_names("LOG_LEVEL", "LIGHTRAG_LOG_LEVEL"),
        description="From which severity on events are logged. Question texts appear at DEBUG only.",
    )
    log_format: Annotated[LogFormat, _Lower] | None = Field(
        None,
        validation_alias=_names("LOG_FORMAT"),
        description="How log lines look. Without it: plain in development, json elsewhere.",
    )
    log_file: _UserPath | None = Field(
        None,
        validation_alias=_names("LOG_FILE"),
        description="A file that gets the log as well, rotated at 10 MB. Without it: standard error only.",
    )

    chainlit_auth_secret: Annotated[SecretStr, MinLen(SECRET_CHARACTERS)] | None = Field(
        None,
        validation_alias=_names("CHAINLIT_AUTH_SECRET"),
        description="Signs the cookie that recognises a visitor. Without it: made once and kept in the storage folder.",
    )

    @property
    def database(self) -> str:
        """The URL of the database that is used."""
        return self.database_url or f"sqlite+aiosqlite:///{(self.storage_dir / 'cmo.sqlite3').as_posix()}"

    @property
    def log_lines(self) -> LogFormat:
        """The format of log lines that is used."""
        if self.log_format is not None:
            return self.log_format
        return LogFormat.PLAIN if self.environment is Environment.DEVELOPMENT else LogFormat.JSON

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only: `load_settings` looks into environment and file, so that all aliases follow one rule."""
        return (init_settings,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A setting as people set it. `names` holds the variable's name and then its aliases; `default` is "" for none."""

    names: tuple[str, ...]
    default: str
    allowed: str
    about: str
    secret: bool


def load_settings(environ: Mapping[str, str] | None = None, *, env_file: Path | None = Path(".env")) -> Settings:
    """The settings from `environ` (the process's own without it) and, where that is silent, from `env_file`.

    An empty value counts as not set, unknown variables are ignored, a missing file is no error. Of several names
    for one setting the first in docs/settings.md wins.

    Raises:
        SettingsError: one line for each wrong value, naming the variable, its value and what is allowed.
    """
    environ = os.environ if environ is None else environ
    found = dict(_found(environ, env_file))
    values = {name: value for name, (_, value) in found.items()}
    if "cache_dir" not in values and Path(environ.get("XDG_CACHE_HOME", "")).is_absolute():
        values["cache_dir"] = str(Path(environ["XDG_CACHE_HOME"], "cmo"))
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = {_field_name(problem["loc"]) for problem in error.errors()}
        raise SettingsError("\n".join(_complaint(name, *found[name]) for name in found if name in wrong)) from error


def variables() -> tuple[Variable, ...]:
    """Every variable that can be set, in the order of the documentation."""
    return tuple(
        Variable(
            names=_aliases(field),
            default=_shown_default(field.default),
            allowed=allowed(name),
            about=field.description or "",
            secret=_is_secret(field),
        )
        for name, field in Settings.model_fields.items()
    )


def allowed(name: str) -> str:
    """What the field `name` of Settings may be, in words."""
    schema = _schema(name)
    if name == "database_url":
        return "sqlite+aiosqlite:///PATH"
    if "enum" in schema:
        return " or ".join(schema["enum"])
    match schema.get("type"), schema.get("format"):
        case "boolean", _:
            return "true or false"
        case ("integer" | "number") as kind, _:
            number = "a whole number" if kind == "integer" else "a number"
            return f"{number} from {schema['minimum']:g} to {schema['maximum']:g}"
        case _, "path":
            return "a path"
        case _:
            return f"a text of at least {SECRET_CHARACTERS} characters"


def _found(environ: Mapping[str, str], env_file: Path | None) -> Iterator[tuple[str, tuple[str, str]]]:
    """Field name, variable name and value of every setting that is set."""
    sources = (_environment(environ), _file(env_file))
    for name, field in Settings.model_fields.items():
        for source in sources:
            value, variable, _ = source.get_field_value(field, name)
            if value is not None:
                yield name, (variable, str(value))
                break


def _environment(environ: Mapping[str, str]) -> EnvSettingsSource:
    source = EnvSettingsSource(Settings, env_ignore_empty=True)
    source.env_vars = {name.lower(): value for name, value in environ.items() if value.strip()}
    return source


def _file(env_file: Path | None) -> DotEnvSettingsSource:
    try:
        return DotEnvSettingsSource(Settings, env_file=env_file, env_file_encoding="utf-8", env_ignore_empty=True)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {env_file} cannot be read: is it UTF-8 text and readable?") from error


def _complaint(name: str, variable: str, value: str) -> str:
    secret = _is_secret(Settings.model_fields[name])
    given = "has a wrong value" if secret else f'is "{_on_one_line(redact(value))}"'
    return f"{variable} {given}. Allowed: {allowed(name)}."


def _on_one_line(value: str) -> str:
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in value)


def _field_name(location: tuple[int | str, ...]) -> str:
    """The field an error of pydantic is about, which names it by field or by alias."""
    return next(
        name for name, field in Settings.model_fields.items() if location[0] == name or location[0] in _aliases(field)
    )


def _aliases(field: FieldInfo) -> tuple[str, ...]:
    assert isinstance(field.validation_alias, AliasChoices)
    return tuple(str(choice) for choice in field.validation_alias.choices)


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _shown_default(default: Any) -> str:
    match default:
        case None:
            return ""
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case _:
            return str(default)


def _schema(name: str) -> dict[str, Any]:
    """The JSON schema of a field, without the "or nothing" of optional ones and with references followed."""
    whole = Settings.model_json_schema(by_alias=False)
    schema: dict[str, Any] = whole["properties"][name]
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    reference = schema.get("$ref") or (schema["allOf"][0]["$ref"] if "allOf" in schema else None)
    return whole["$defs"][reference.rsplit("/", 1)[1]] if reference else schema
