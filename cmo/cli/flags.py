"""`cmo flags`: feature flags seen, tried out and changed. Every change asks for a reason and goes into the history."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from cmo.bootstrap.flags import written_flags
from cmo.cli.flag_views import (
    DRY,
    change_as_json,
    flag_as_json,
    flags_table,
    history_table,
    parsed,
    print_value,
    remarks,
    tell,
    value_as_json,
)
from cmo.cli.options import (
    AuthorOption,
    DryRunOption,
    JsonOption,
    ReasonOption,
    StorageOption,
    readable,
    settings_for,
)
from cmo.cli.output import errors_as_sentences, out, print_json, say
from cmo.cli.records import authorship, changed_records, from_records, refuse_written_flags
from cmo.dispatch.flags_file import document_in, yaml_of
from cmo.errors import OracleError
from cmo.policy.arms import refuse_wrong
from cmo.policy.flag_documents import document_of, flag_from
from cmo.policy.flags import MAIN_ROLLOUT, AnyFlag, FeatureFlag, FlagContext, FlagSet, FlagStatus, evaluate
from cmo.settings import EngineChoice, QueryMode, Settings
from cmo.storage.assignments import SqlAssignments
from cmo.storage.flags import FlagChange, SqlFlags

T = TypeVar("T")

group = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@group.callback()
def flags() -> None:
    """Show and change feature flags, each change with a reason.

    Changes are in force within 5 seconds, in every process and without a restart. docs/flags.md tells what flags do.
    """


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The flag.", show_default=False)]
IfVersionOption = Annotated[
    int | None, typer.Option("--if-version", min=1, help="Change it only when it is at this version.")
]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", allow_dash=True, help="Take the whole flag from a YAML or JSON file."),
]
StatusOption = Annotated[FlagStatus | None, typer.Option("--status", help="How it decides.")]
PercentageOption = Annotated[
    float | None, typer.Option("--percentage", min=0, max=100, help="The share of people who get it, in percent.")
]
DescriptionOption = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")]
OwnerOption = Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Who looks after it.")]
ExpiresOption = Annotated[
    str | None, typer.Option("--expires", metavar="DATE", help="The last day (UTC) or the time until which it is on.")
]
PermanentOption = Annotated[
    bool | None, typer.Option("--permanent/--temporary", help="Whether it is meant to stay, and so never stale.")
]
VariantOption = Annotated[
    list[str] | None, typer.Option("--variant", metavar="NAME=WEIGHT", help="A variant; repeat it for each.")
]


@group.command("list")
def list_flags(storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """List all flags, with those somebody should look at."""
    with errors_as_sentences(as_json=as_json):
        found = _all(settings_for(papers=None, storage=storage))
    now = datetime.now(UTC)
    if as_json:
        print_json([flag_as_json(flag, now) for flag in found.flags.values()])
    elif found.flags:
        out.print(flags_table(found.flags.values(), now))
    else:
        say("There are no flags yet: `cmo flags create` makes one.")


@group.command()
def show(name: NameArgument, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Show one flag whole, as it can be given to --file."""
    with errors_as_sentences(as_json=as_json):
        flag = _one(settings_for(papers=None, storage=storage), name)
    now = datetime.now(UTC)
    if as_json:
        print_json(flag_as_json(flag, now))
        return
    say(f"# {flag.name}, version {flag.version}. {remarks(flag, now)}".rstrip())
    if isinstance(flag, FeatureFlag):
        say(yaml_of(document_of(flag)))


@group.command()
def create(
    name: NameArgument,
    reason: ReasonOption,
    status: StatusOption = None,
    percentage: PercentageOption = None,
    variant: VariantOption = None,
    description: DescriptionOption = None,
    owner: OwnerOption = None,
    expires: ExpiresOption = None,
    permanent: PermanentOption = None,
    file: FileOption = None,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a flag; without a status it is disabled."""
    given = _given(status, percentage, description, owner, expires, permanent)
    with errors_as_sentences(as_json=as_json):
        document = _document(file)
        flag = flag_from(name, {**document, **given, **_weighted(variant, document)})
        _refuse_wrong_overrides(flag)
        by, settings = authorship(author, reason), settings_for(papers=None, storage=storage)
        made = _change(settings, dry_run, lambda store: store.create(flag, by))
    tell(made, {}, by.at, dry_run=dry_run, as_json=as_json)


@group.command("set")
def set_flag(
    name: NameArgument,
    reason: ReasonOption,
    status: StatusOption = None,
    percentage: PercentageOption = None,
    variant: VariantOption = None,
    description: DescriptionOption = None,
    owner: OwnerOption = None,
    expires: ExpiresOption = None,
    permanent: PermanentOption = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="Take this part of the flag away.")
    ] = None,
    file: FileOption = None,
    if_version: IfVersionOption = None,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a flag. What is not given stays as it is, except with --file, which replaces the flag."""
    given = _given(status, percentage, description, owner, expires, permanent)
    if not (given or variant or unset or file):
        raise typer.BadParameter("Give what to change: --status, --percentage, --variant, --file ...")
    with errors_as_sentences(as_json=as_json):
        by, settings = authorship(author, reason), settings_for(papers=None, storage=storage)
        refuse_written_flags(settings)
        flag = _one(settings, name)
        before = document_of(flag) if isinstance(flag, FeatureFlag) else {}
        base = _document(file) if file else before
        after = {**base, **given, **_weighted(variant, base)}
        if missing := [key for key in unset or () if key not in after]:
            raise OracleError(f'The flag "{name}" says no "{missing[0]}". It says: {", ".join(after) or "nothing"}.')
        changed = flag_from(name, {key: value for key, value in after.items() if key not in (unset or ())})
        _refuse_wrong_overrides(changed)
        version = flag.version if if_version is None else if_version
        made = _change(settings, dry_run, lambda store: store.update(changed, by, version=version))
    tell(made, before, by.at, dry_run=dry_run, as_json=as_json)


@group.command()
def revert(
    name: NameArgument,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="The version to go back to.")],
    reason: ReasonOption,
    if_version: IfVersionOption = None,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a flag what it was at an earlier version, also one that was deleted."""
    with errors_as_sentences(as_json=as_json):
        by, settings = authorship(author, reason), settings_for(papers=None, storage=storage)
        newest = _history(settings, name)[0]
        at = newest.version if if_version is None else if_version
        made = _change(settings, dry_run, lambda store: store.revert(name, by, to=version, version=at))
    tell(made, parsed(newest.new), by.at, dry_run=dry_run, as_json=as_json)


@group.command()
def delete(
    name: NameArgument,
    reason: ReasonOption,
    if_version: IfVersionOption = None,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a flag. Its history stays, and `revert` brings it back."""
    with errors_as_sentences(as_json=as_json):
        by, settings = authorship(author, reason), settings_for(papers=None, storage=storage)
        refuse_written_flags(settings)
        at = _one(settings, name).version if if_version is None else if_version
        _change(settings, dry_run, lambda store: store.delete(name, by, version=at))
    if as_json:
        print_json({"deleted": name, "dry_run": dry_run})
    else:
        back = "" if dry_run else f" `cmo flags revert {name} {at}` brings it back."
        say(f'{DRY if dry_run else ""}The flag "{name}" is deleted.{back}')


@group.command()
def history(name: NameArgument, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Show who changed a flag, when and why, the newest first."""
    with errors_as_sentences(as_json=as_json):
        changes = _history(settings_for(papers=None, storage=storage), name)
    if as_json:
        print_json([change_as_json(change) for change in changes])
    else:
        out.print(history_table(changes))


@group.command("evaluate")
def evaluate_flag(
    name: NameArgument,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="Whom it is asked for.")] = "",
    cohort: Annotated[str, typer.Option("--cohort", metavar="NAME", help="The group the person belongs to.")] = "",
    region: Annotated[str, typer.Option("--region", metavar="NAME", help="Where the person is.")] = "",
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="NAME=VALUE", help="Something else known of them; repeat it for each."),
    ] = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a flag is worth for a person, and why."""
    attributes = dict(map(_attribute, attribute or ()))
    with errors_as_sentences(as_json=as_json):
        settings = settings_for(papers=None, storage=storage)
        flag = _one(settings, name)
        assigned = from_records(settings, lambda database: SqlAssignments(database).assigned(readable(user))) or {}
    context = FlagContext(
        user_id=readable(user), cohort=cohort, region=region, attributes=attributes, assigned=assigned
    )
    found = evaluate(flag, context, salt=settings.hash_salt, now=datetime.now(UTC), chance=random.random)
    if as_json:
        print_json(value_as_json(name, found))
    else:
        print_value(name, found)


def _refuse_wrong_overrides(flag: FeatureFlag) -> None:
    """Those of the flag that the router obeys; what others override is for whoever asks for them."""
    if flag.name != MAIN_ROLLOUT:
        return
    for variant in flag.variants:
        try:
            refuse_wrong(variant.config_overrides, engines=tuple(EngineChoice), modes=tuple(QueryMode))
        except ValueError as error:
            raise OracleError(f'Variant "{variant.name}" of the flag "{flag.name}": {error}') from error


def _all(settings: Settings) -> FlagSet:
    if (source := written_flags(settings)) is not None:
        return asyncio.run(source.load())
    kept = from_records(settings, lambda database: SqlFlags(database).load())
    return kept or FlagSet(revision="", flags={})


def _one(settings: Settings, name: str) -> AnyFlag:
    flag = _all(settings).flags.get(name)
    if flag is None:
        raise _no_flag(name)
    return flag


def _history(settings: Settings, name: str) -> tuple[FlagChange, ...]:
    refuse_written_flags(settings)
    changes = from_records(settings, lambda database: SqlFlags(database).history(readable(name)))
    if not changes:
        raise _no_flag(name)
    return changes


def _no_flag(name: str) -> OracleError:
    return OracleError(f'There is no flag "{name}". `cmo flags list` shows those there are.')


def _change(settings: Settings, dry_run: bool, change: Callable[[SqlFlags], Awaitable[T]]) -> T:
    refuse_written_flags(settings)
    return changed_records(settings, lambda database: change(SqlFlags(database, trial=dry_run)), dry_run=dry_run)


def _document(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OracleError(f"The file {file} cannot be read. Allowed: a YAML or JSON file in UTF-8.") from error
    document = document_in(text)
    if not isinstance(document, dict):
        raise OracleError(f"The file {file} has a wrong form. Allowed: a table of the flag's keys and values.")
    return document


def _given(
    status: FlagStatus | None,
    percentage: float | None,
    description: str | None,
    owner: str | None,
    expires: str | None,
    permanent: bool | None,
) -> dict[str, Any]:
    """What the options say, as a document."""
    options = {
        "status": status and status.value,
        "rollout_percentage": percentage,
        "description": description and readable(description),
        "owner": owner and readable(owner),
        "expires_at": expires,
        "permanent": permanent,
    }
    return {key: value for key, value in options.items() if value is not None}


def _weighted(pairs: Sequence[str] | None, document: Mapping[str, Any]) -> dict[str, Any]:
    """The variants of the options; those that the document has already keep their overrides."""
    if not pairs:
        return {}
    known = document.get("variants")
    known = {each.get("name"): each for each in known if isinstance(each, dict)} if isinstance(known, list) else {}
    variants = []
    for pair in pairs:
        name, _, weight = pair.partition("=")
        try:
            variants.append({**known.get(name, {}), "name": name, "weight": float(weight)})
        except ValueError:
            raise typer.BadParameter(f'--variant "{pair}" is no NAME=WEIGHT, such as treatment=50.') from None
    return {"variants": variants}


def _attribute(pair: str) -> tuple[str, object]:
    name, equals, value = readable(pair).partition("=")
    if not name or not equals:
        raise typer.BadParameter(f'--attribute "{pair}" is no NAME=VALUE, such as plan=pro.')
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value
