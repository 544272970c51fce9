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
from types import MappingProxyType
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


class EngineChoice(StrEnum):
    """The engines everybody can be sent to."""

    LIGHTRAG = "lightrag"
    PERPLEXITY = "perplexity"


class Extraction(StrEnum):
    """What finds entities and relations in papers."""

    DICTIONARY = "dictionary"
    MODEL = "model"


class FlagsFrom(StrEnum):
    """Where feature flags come from."""

    DATABASE = "database"
    FILE = "file"
    ENVIRONMENT = "environment"


class QueryMode(StrEnum):
    """LightRAG's ways to search."""

    LOCAL = "local"
    GLOBAL = "global"
    HYBRID = "hybrid"
    NAIVE = "naive"
    MIX = "mix"


class Judge(StrEnum):
    """Who judges sentences that the embedded check leaves open."""

    OFF = "off"
    MODEL = "model"


class Translation(StrEnum):
    """Who translates."""

    GOOGLE = "google"
    MYMEMORY = "mymemory"
    LIBRETRANSLATE = "libretranslate"
    MODEL = "model"
    OFF = "off"


class WireFormat(StrEnum):
    """How Perplexity is spoken to."""

    AGENT = "agent"
    CHAT_COMPLETIONS = "chat_completions"


class SearchContext(StrEnum):
    """How much of the pages found a web search's model reads."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Profile:
    """The defaults that depend on where the application runs."""

    rollout_percentage: float
    breaker_failures: int
    quality_threshold: float


PROFILES = MappingProxyType(
    {
        Environment.DEVELOPMENT: Profile(100.0, 10, 0.5),
        Environment.STAGING: Profile(50.0, 5, 0.7),
        Environment.PRODUCTION: Profile(10.0, 3, 0.8),
    }
)

MOST_DOMAINS = 20
"""Perplexity takes no more."""

BIOMEDICAL_DOMAINS = (
    "ncbi.nlm.nih.gov",
    "pubmed.ncbi.nlm.nih.gov",
    "europepmc.org",
    "nih.gov",
    "who.int",
    "ema.europa.eu",
    "fda.gov",
    "clinicaltrials.gov",
    "cochranelibrary.com",
    "hmdb.ca",
    "ebi.ac.uk",
    "genome.jp",
    "metabolomicsworkbench.org",
    "nature.com",
    "sciencedirect.com",
    "springer.com",
    "wiley.com",
    "mdpi.com",
    "frontiersin.org",
    "acs.org",
)
"""Sites of biomedical literature, registries, regulators and metabolite databases."""

_DOMAIN = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_FLAG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,79}=(?:on|off|true|false|100|\d{1,2}(?:\.\d{1,6})?)")
_HTTP = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")


def _listed(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (part.strip().lower() for part in value.split(",")) if part)
    return value


def _domains(domains: tuple[str, ...]) -> tuple[str, ...]:
    if domains == ("*",):
        return ()
    if len(domains) > MOST_DOMAINS or not all(_DOMAIN.fullmatch(domain) for domain in domains):
        raise ValueError("not a list of domains")
    return domains


def _flags(pairs: tuple[str, ...]) -> tuple[str, ...]:
    names = {pair.partition("=")[0] for pair in pairs}
    if len(names) < len(pairs) or not all(_FLAG.fullmatch(pair) for pair in pairs):
        raise ValueError("not a list of flags")
    return pairs


def _http_url(url: str) -> str:
    if not _HTTP.fullmatch(url):
        raise ValueError("not an address")
    return url.rstrip("/")


def _sendable(key: SecretStr) -> SecretStr:
    """A key that a header can carry; the errors of HTTP libraries would repeat another one."""
    value = key.get_secret_value()
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise ValueError("not a key")
    return key


def _cache_url(url: str) -> str:
    if url not in ("mem://", "disk://") and not re.match(r"rediss?://[^\s/]", url):
        raise ValueError("not a place for answers")
    return url


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
_HttpUrl = Annotated[str, AfterValidator(_http_url)]
_Key = Annotated[SecretStr, AfterValidator(_sendable)]


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

    fallback: bool = Field(
        True,
        validation_alias=_names("LIGHTRAG_FALLBACK_TO_PERPLEXITY"),
        description="Whether another engine is asked when the chosen one fails. Off: its failure is told.",
    )
    forced_engine: Annotated[EngineChoice, _Lower] | None = Field(
        None,
        validation_alias=_names("LIGHTRAG_FORCE_USER_COHORT"),
        description="The engine everybody's questions go to. Without it: each question is routed.",
    )
    emergency_stop: bool = Field(
        False,
        validation_alias=_names("LIGHTRAG_EMERGENCY_STOP_ENABLED"),
        description="Stops asking LightRAG at once; questions go to the other engine, or are told so.",
    )
    rollout_percentage: Annotated[float, Ge(0), Le(100)] | None = Field(
        None,
        validation_alias=_names("LIGHTRAG_ROLLOUT_PERCENTAGE"),
        description="Share of people whose questions go to LightRAG when both engines are configured, in percent. "
        "Without it: 100 in development, 50 in staging, 10 in production.",
    )
    hash_salt: str = Field(
        "cmo_lightrag_2025",
        validation_alias=_names("LIGHTRAG_USER_HASH_SALT"),
        description="Mixed into the hash that gives each person a place in rollouts; another salt moves everybody.",
    )
    conditional_routing: bool = Field(
        False,
        validation_alias=_names("LIGHTRAG_ENABLE_CONDITIONAL_ROUTING", "LIGHTRAG_ADVANCED_ROUTING"),
        description="Whether rules about the question decide on the engine before the rollout does.",
    )
    routing_rules: _UserPath | None = Field(
        None,
        validation_alias=_names("CMO_ROUTING_RULES"),
        description="A TOML file with the conditional rules. Without it: news go to the web, and what the papers do "
        "not cover.",
    )

    flags_from: Annotated[FlagsFrom, _Lower] = Field(
        FlagsFrom.DATABASE,
        validation_alias=_names("CMO_FLAGS_FROM"),
        description="Where feature flags come from: the database, changed by `cmo flags`, a file, or CMO_FLAGS.",
    )
    flags_file: _UserPath | None = Field(
        None,
        validation_alias=_names("CMO_FLAGS_FILE"),
        description="The YAML file with the flags, for that choice; changes take effect within 5 seconds.",
    )
    flags: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_flags)] = Field(
        (),
        validation_alias=_names("CMO_FLAGS"),
        description="The flags, for the choice environment, each on, off or on for a share of people in percent.",
    )

    circuit_breaker: bool = Field(
        True,
        validation_alias=_names(
            "LIGHTRAG_ENABLE_CIRCUIT_BREAKER", "LIGHTRAG_CIRCUIT_BREAKER", "LIGHTRAG_CIRCUIT_BREAKER_ENABLED"
        ),
        description="Whether an engine rests after failures. Off: failures are only counted.",
    )
    breaker_failures: Annotated[int, Ge(1), Le(1_000)] | None = Field(
        None,
        validation_alias=_names("LIGHTRAG_CIRCUIT_BREAKER_FAILURE_THRESHOLD"),
        description="Failures in a row after which an engine rests. Without it: 10 in development, 5 in staging, "
        "3 in production.",
    )
    breaker_recovery_seconds: Annotated[float, Ge(0.1), Le(86_400)] = Field(
        300.0,
        validation_alias=_names(
            "LIGHTRAG_CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "LIGHTRAG_CIRCUIT_BREAKER_TIMEOUT_SECONDS"
        ),
        description="How long an engine rests before it is tried again, in seconds; longer after each further rest.",
    )
    slow_call_seconds: Annotated[float, Ge(0.1), Le(600)] = Field(
        30.0,
        validation_alias=_names("CMO_SLOW_CALL_SECONDS"),
        description="Calls that take longer count as slow; an engine with too many of them rests, too.",
    )
    quality_threshold: Annotated[float, Ge(0), Le(1)] | None = Field(
        None,
        validation_alias=_names("LIGHTRAG_MIN_QUALITY_THRESHOLD", "LIGHTRAG_QUALITY_THRESHOLD"),
        description="Recent quality of answers below which an engine is passed over, 0 to 1. Without it: 0.5 in "
        "development, 0.7 in staging, 0.8 in production.",
    )

    quality_assessment: bool = Field(
        True,
        validation_alias=_names("LIGHTRAG_QUALITY_ASSESSMENT", "LIGHTRAG_ENABLE_QUALITY_METRICS"),
        description="Whether each answer is held against its sources, sentence by sentence, and gets a badge.",
    )
    citation_processing: bool = Field(
        True,
        validation_alias=_names("LIGHTRAG_CITATIONS"),
        description="Whether answers cite their sources. Off: without markers and bibliography, and nobody can check "
        "them.",
    )
    cost_monitoring: bool = Field(
        True,
        validation_alias=_names("LIGHTRAG_COST_MONITORING"),
        description="Whether the books say what questions cost. Off: `cmo costs` does not know; budgets hold all the "
        "same.",
    )
    analytics_collection: bool = Field(
        True,
        validation_alias=_names("LIGHTRAG_ANALYTICS"),
        description="Whether rollouts and experiments get to know where people were led and what came of it.",
    )
    quality_timeout_seconds: Annotated[float, Ge(0.1), Le(600)] = Field(
        10.0,
        validation_alias=_names("CMO_QUALITY_TIMEOUT_SECONDS"),
        description='How long assessing one answer may take, in seconds; then it is shown as "not assessed".',
    )
    quality_judge: Annotated[Judge, _Lower] = Field(
        Judge.OFF,
        validation_alias=_names("CMO_QUALITY_JUDGE"),
        description="Who judges the sentences that the embedded check leaves open: nobody, or the language model.",
    )
    second_opinion_below: Annotated[float, Ge(0), Le(1)] = Field(
        0.6,
        validation_alias=_names("CMO_SECOND_OPINION_BELOW"),
        description="Quality of an answer below which another engine is asked as well, 0 to 1; 0 for never.",
    )

    translation: Annotated[Translation, _Lower] = Field(
        Translation.GOOGLE,
        validation_alias=_names("CMO_TRANSLATION"),
        description="Who translates questions and answers of other languages: the free service of Google or of "
        "MyMemory, a LibreTranslate server, the language model, or nobody. A service gets to read the question and the "
        "answer, sentences of papers in it included; without one answers are in English.",
    )
    multi_language: bool = Field(
        True,
        validation_alias=_names("LIGHTRAG_MULTI_LANGUAGE"),
        description="Whether answers are given in the language of the question. Off: in English.",
    )
    libretranslate_url: _HttpUrl | None = Field(
        None,
        validation_alias=_names("LIBRETRANSLATE_URL"),
        description="The address of the LibreTranslate server, for that choice.",
    )
    libretranslate_api_key: _Key | None = Field(
        None,
        validation_alias=_names("LIBRETRANSLATE_API_KEY"),
        description="Its key, where it wants one.",
    )
    translation_timeout_seconds: Annotated[float, Ge(0.1), Le(600)] = Field(
        10.0,
        validation_alias=_names("CMO_TRANSLATION_TIMEOUT_SECONDS"),
        description="How long translating one answer may take, in seconds; then it is shown in English.",
    )

    daily_budget_usd: Annotated[float, Ge(0), Le(1_000_000)] | None = Field(
        None,
        validation_alias=_names(
            "LIGHTRAG_DAILY_BUDGET", "LIGHTRAG_DAILY_BUDGET_USD", "LIGHTRAG_MAX_BUDGET", "LIGHTRAG_MAX_DAILY_BUDGET"
        ),
        description="What may be spent in one day (UTC), in dollars. Without it: no limit.",
    )
    monthly_budget_usd: Annotated[float, Ge(0), Le(10_000_000)] | None = Field(
        None,
        validation_alias=_names("LIGHTRAG_MONTHLY_BUDGET"),
        description="What may be spent in one calendar month (UTC), in dollars. Without it: no limit.",
    )
    user_daily_budget_usd: Annotated[float, Ge(0), Le(1_000_000)] | None = Field(
        None,
        validation_alias=_names("CMO_USER_DAILY_BUDGET"),
        description="What one person may spend in one day (UTC), in dollars. Without it: no limit.",
    )
    cost_alert_threshold: Annotated[float, Ge(0.01), Le(1)] = Field(
        0.8,
        validation_alias=_names("LIGHTRAG_COST_ALERT_THRESHOLD", "LIGHTRAG_BUDGET_ALERT_THRESHOLD"),
        description="Share of a budget at which a first alert is raised; the second comes when it is spent.",
    )
    shadow_daily_budget_usd: Annotated[float, Ge(0), Le(1_000_000)] = Field(
        0.5,
        validation_alias=_names("CMO_SHADOW_DAILY_BUDGET_USD"),
        description="What answers in the shadow may cost in one day (UTC), in dollars, beside all other budgets. They "
        "are given where the flag shadow_mode says so.",
    )

    openai_api_key: _Key | None = Field(
        None,
        validation_alias=_names("OPENAI_API_KEY"),
        description="The key of an OpenAI-compatible server, which then writes the answers from the papers.",
    )
    openai_base_url: _HttpUrl | None = Field(
        None,
        validation_alias=_names("OPENAI_BASE_URL"),
        description="The address of an OpenAI-compatible server (vLLM, Ollama, llama.cpp ...), with /v1 where it wants "
        "that. Without it, but with a key: OpenAI itself.",
    )
    openai_model: Annotated[str, MinLen(1)] = Field(
        "gpt-6-luna",
        validation_alias=_names("OPENAI_MODEL"),
        description="The model that writes answers and rewrites follow-up questions.",
    )
    openai_embedding_model: str | None = Field(
        None,
        validation_alias=_names("OPENAI_EMBEDDING_MODEL"),
        description="The server's model for embeddings. Without it: the embedded one. A change asks for a new index.",
    )
    openai_embedding_dimensions: Annotated[int, Ge(8), Le(8_192)] = Field(
        1_536,
        validation_alias=_names("OPENAI_EMBEDDING_DIMENSIONS"),
        description="Length of the vectors that model returns.",
    )
    embedding_is_multilingual: bool = Field(
        False,
        validation_alias=_names("OPENAI_EMBEDDING_MULTILINGUAL"),
        description="Whether that model understands other languages: questions in them are then compared with the "
        "papers as they were asked, and not by their English words alone.",
    )
    openai_price_in: Annotated[float, Ge(0), Le(10_000)] | None = Field(
        None,
        validation_alias=_names("OPENAI_PRICE_IN"),
        description="Dollars per million tokens read, for models without a known price. Without it: the known "
        "price, or nothing for a server of one's own.",
    )
    openai_price_out: Annotated[float, Ge(0), Le(10_000)] | None = Field(
        None,
        validation_alias=_names("OPENAI_PRICE_OUT"),
        description="Dollars per million tokens written, likewise.",
    )
    extraction: Annotated[Extraction, _Lower] = Field(
        Extraction.DICTIONARY,
        validation_alias=_names("LIGHTRAG_EXTRACTION"),
        description="What finds entities and relations in papers: word lists (free, fast) or the model. "
        "A change asks for a new index.",
    )
    query_mode: Annotated[QueryMode, _Lower] = Field(
        QueryMode.MIX,
        validation_alias=_names("LIGHTRAG_QUERY_MODE"),
        description="How LightRAG is searched: by entities, by relations, by both, by passages, or by all of them.",
    )

    perplexity_api_key: _Key | None = Field(
        None,
        validation_alias=_names("PERPLEXITY_API_KEY", "PERPLEXITY_API"),
        description="The key for Perplexity, which then answers questions from the web.",
    )
    perplexity_base_url: _HttpUrl | None = Field(
        None,
        validation_alias=_names("PERPLEXITY_BASE_URL"),
        description="The address of Perplexity or of a gateway to it, without the path of a call. Without it: "
        "https://api.perplexity.ai.",
    )
    perplexity_wire_format: Annotated[WireFormat, _Lower] = Field(
        WireFormat.AGENT,
        validation_alias=_names("PERPLEXITY_WIRE_FORMAT"),
        description="How Perplexity is spoken to: its Agent API, or the older chat completions some gateways speak.",
    )
    perplexity_model: str | None = Field(
        None,
        validation_alias=_names("PERPLEXITY_MODEL"),
        description="Perplexity's model. Without it: perplexity/sonar, and sonar in the older format.",
    )
    perplexity_domains: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_domains)] = Field(
        BIOMEDICAL_DOMAINS,
        validation_alias=_names("PERPLEXITY_DOMAINS"),
        description="The sites the web search is limited to, at most 20, separated by commas; * searches everywhere.",
    )
    perplexity_search_context: Annotated[SearchContext, _Lower] = Field(
        SearchContext.MEDIUM,
        validation_alias=_names("PERPLEXITY_SEARCH_CONTEXT"),
        description="How much of the pages found Perplexity's model reads.",
    )

    response_cache: bool = Field(
        True,
        validation_alias=_names("LIGHTRAG_RESPONSE_CACHING"),
        description="Whether answers are kept and given again to the same question.",
    )
    cache_url: Annotated[str, AfterValidator(_cache_url)] = Field(
        "mem://",
        validation_alias=_names("CMO_CACHE_URL"),
        description="Where answers are kept: mem:// for this process, disk:// for the storage folder, or a "
        "redis:// URL.",
    )
    cache_seconds: Annotated[float, Ge(1), Le(31_536_000)] = Field(
        3_600.0,
        validation_alias=_names("CMO_CACHE_SECONDS"),
        description="How long an answer is given again, in seconds.",
    )
    cache_entries: Annotated[int, Ge(1), Le(1_000_000)] = Field(
        1_000,
        validation_alias=_names("CMO_CACHE_ENTRIES"),
        description="How many answers are kept at most; the oldest go first.",
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

    keep_conversations: bool = Field(
        True,
        validation_alias=_names("CMO_KEEP_CONVERSATIONS"),
        description="Whether questions and answers are kept in the database, for `cmo export`. Off: no text is.",
    )
    keep_conversations_days: Annotated[int, Ge(1), Le(36_500)] = Field(
        90,
        validation_alias=_names("CMO_KEEP_CONVERSATIONS_DAYS"),
        description="How long their texts are kept, in days.",
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
    def profile(self) -> Profile:
        """The defaults of this environment."""
        return PROFILES[self.environment]

    @property
    def rollout(self) -> float:
        """The share of people whose questions go to LightRAG that is used, in percent."""
        return self.profile.rollout_percentage if self.rollout_percentage is None else self.rollout_percentage

    @property
    def failures_before_rest(self) -> int:
        """The failures in a row after which an engine rests that are used."""
        return self.breaker_failures or self.profile.breaker_failures

    @property
    def least_quality(self) -> float:
        """The quality below which an engine is passed over that is used."""
        return self.profile.quality_threshold if self.quality_threshold is None else self.quality_threshold

    @property
    def has_model(self) -> bool:
        """Whether an OpenAI-compatible server is configured."""
        return self.openai_api_key is not None or self.openai_base_url is not None

    @property
    def embeds_on_server(self) -> bool:
        """Whether that server makes the vectors of the index."""
        return self.has_model and self.openai_embedding_model is not None

    @property
    def extracts_on_server(self) -> bool:
        """Whether its model finds entities and relations."""
        return self.has_model and self.extraction is Extraction.MODEL

    @property
    def has_web(self) -> bool:
        """Whether Perplexity is configured; a gateway of one's own may need no key."""
        return self.perplexity_api_key is not None or self.perplexity_base_url is not None

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


_ALLOWED = MappingProxyType(
    {
        "database_url": "sqlite+aiosqlite:///PATH",
        "openai_base_url": "an address that begins with http:// or https://",
        "perplexity_base_url": "an address that begins with http:// or https://",
        "perplexity_domains": f"at most {MOST_DOMAINS} domains, separated by commas, or *",
        "cache_url": "mem://, disk:// or redis://HOST",
        "flags": "flags as NAME=on, NAME=off or NAME=25, separated by commas",
        "openai_api_key": "a key",
        "perplexity_api_key": "a key",
        "hash_salt": "a text",
        "openai_model": "a name",
        "openai_embedding_model": "a name",
        "perplexity_model": "a name",
        "libretranslate_url": "an address that begins with http:// or https://",
        "libretranslate_api_key": "a key",
    }
)
"""What fields may be whose type does not tell it in words."""


def load_settings(environ: Mapping[str, str] | None = None, *, env_file: Path | None = Path(".env")) -> Settings:
    """The settings from `environ` (the process's own without it) and, where that is silent, from `env_file`.

    An empty value counts as not set, unknown variables are ignored, a missing file is no error. Of several names
    for one setting the first in docs/settings.md wins.

    Raises:
        SettingsError: one line for each wrong value, naming the variable, its value and what is allowed; or the
            variable that another one needs.
    """
    environ = os.environ if environ is None else environ
    found = dict(_found(environ, env_file))
    values = {name: value for name, (_, value) in found.items()}
    if "cache_dir" not in values and Path(environ.get("XDG_CACHE_HOME", "")).is_absolute():
        values["cache_dir"] = str(Path(environ["XDG_CACHE_HOME"], "cmo"))
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = {_field_name(problem["loc"]) for problem in error.errors()}
        raise SettingsError("\n".join(_complaint(name, *found[name]) for name in found if name in wrong)) from error
    if unmet := list(_unmet(settings)):
        raise SettingsError("\n".join(unmet))
    return settings


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
    if name in _ALLOWED:
        return _ALLOWED[name]
    schema = _schema(name)
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


def _unmet(settings: Settings) -> Iterator[str]:
    """What one setting asks of another that is not there."""
    if settings.translation is Translation.LIBRETRANSLATE and settings.libretranslate_url is None:
        yield "CMO_TRANSLATION is libretranslate, so LIBRETRANSLATE_URL has to name a server."
    if settings.flags_from is FlagsFrom.FILE and settings.flags_file is None:
        yield "CMO_FLAGS_FROM is file, so CMO_FLAGS_FILE has to name one."
    for name, asks in (
        ("CMO_TRANSLATION", settings.translation is Translation.MODEL),
        ("CMO_QUALITY_JUDGE", settings.quality_judge is Judge.MODEL),
    ):
        if asks and not settings.has_model:
            yield f"{name} is model, so OPENAI_API_KEY or OPENAI_BASE_URL has to name a language model."


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
        case tuple():
            return ",".join(default)
        case _:
            return str(default)


def _schema(name: str) -> dict[str, Any]:
    """The JSON schema of a field, without the "or nothing" of optional ones and with references followed."""
    whole = Settings.model_json_schema(by_alias=False)
    schema: dict[str, Any] = whole["properties"][name]
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    reference = schema.get("$ref") or (schema["allOf"][0]["$ref"] if "allOf" in schema else None)
    return whole["$defs"][reference.rsplit("/", 1)[1]] if reference else schema
