"""LightRAG's record of every document, over the tables of one index file. Imported like `lightrag_storages`.

Written at once, not with a commit: what LightRAG says of a document here is what a crash leaves to be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lightrag.base import (  # type: ignore[import-untyped]
    CURSOR_END,
    CURSOR_START,
    CursorAfter,
    CursorPosition,
    DocProcessingStatus,
    DocSchedulingRecord,
    DocStatus,
    DocStatusPage,
    DocStatusStorage,
    SourceAbsent,
    SourceConflict,
    SourceResolution,
    SourceUnique,
)
from lightrag.constants import CUSTOM_CHUNK_PATCH_METADATA_KEY  # type: ignore[import-untyped]
from lightrag.exceptions import StorageRecordNotFoundError  # type: ignore[import-untyped]

from cmo.engines.lightrag_storages import DROPPED, Answer, tables_of
from cmo.storage.graph_rows import Record

_NO_SOURCE = "unknown_source"
_NO_FILE = "no-file-path"


@dataclass
class SqliteDocStatusStorage(DocStatusStorage):  # type: ignore[misc]
    """What LightRAG knows of each document."""

    supports_strict_point_reads: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Find the table."""
        self._table = tables_of(self.global_config).statuses

    async def index_done_callback(self) -> None:
        """Do nothing: all is written."""

    async def get_by_id(self, id: str) -> Record | None:
        """One document's record."""
        return self._table.get([id]).get(id)

    async def get_by_id_strict(self, id: str) -> Record | None:
        """One document's record; None is certain, since a failing read raises."""
        return await self.get_by_id(id)

    async def get_by_ids(self, ids: list[str]) -> list[Record | None]:
        """Records in the order asked for, None where there is none."""
        found = self._table.get(ids)
        return [found.get(key) for key in ids]

    async def filter_keys(self, keys: set[str]) -> set[str]:
        """Those documents which have no record."""
        return keys - self._table.get(keys).keys()

    async def is_empty(self) -> bool:
        """Whether nothing is stored."""
        return not self._table.counts()

    async def upsert(self, data: dict[str, Record]) -> None:
        """Store records whole."""
        self._table.write({key: {"chunks_list": [], **_plain(record)} for key, record in data.items()})

    async def update_doc_status_fields(self, doc_id: str, fields: dict[str, Any], *, missing_ok: bool = False) -> None:
        """Change some fields of a record."""
        if "created_at" in fields:
            raise ValueError("created_at is what records are ordered by and cannot be changed")
        record = await self.get_by_id(doc_id)
        if record is not None:
            self._table.write({doc_id: record | _plain(fields)})
        elif not missing_ok:
            raise StorageRecordNotFoundError(doc_id)

    async def delete(self, ids: list[str]) -> None:
        """Remove records."""
        self._table.delete(ids)

    async def drop(self) -> Answer:
        """Remove everything."""
        self._table.clear()
        return DROPPED

    async def get_status_counts(self) -> dict[str, int]:
        """Number of documents in every status."""
        return {status.value: 0 for status in DocStatus} | self._table.counts()

    async def get_all_status_counts(self) -> dict[str, int]:
        """Number of documents in every status and of all."""
        counts = await self.get_status_counts()
        return counts | {"all": sum(counts.values())}

    async def count_docs_by_statuses(self, statuses: list[DocStatus], *, strict: bool = True) -> int:
        """Number of documents in any of the statuses."""
        counts = self._table.counts()
        return sum(counts.get(status.value, 0) for status in set(statuses))

    async def get_docs_by_statuses(
        self, statuses: list[DocStatus], strict: bool = False
    ) -> dict[str, DocProcessingStatus]:
        """Documents in any of the statuses, oldest first."""
        return _states(self._table.with_status([status.value for status in statuses]))

    async def get_docs_by_track_id(self, track_id: str) -> dict[str, DocProcessingStatus]:
        """Documents of one insertion."""
        return _states(self._table.with_track(track_id))

    async def get_docs_paginated(
        self,
        status_filter: DocStatus | None = None,
        status_filters: list[DocStatus] | None = None,
        page: int = 1,
        page_size: int = 50,
        sort_field: str = "updated_at",
        sort_direction: str = "desc",
    ) -> tuple[list[tuple[str, DocProcessingStatus]], int]:
        """One page of documents, and how many there are."""
        chosen = self.resolve_status_filter_values(status_filter, status_filters)
        found = self._table.with_status(sorted(chosen or {status.value for status in DocStatus}))
        field = sort_field if sort_field in ("created_at", "updated_at", "file_path") else None
        ordered = sorted(
            found.items(),
            key=lambda item: (item[1].get(field) or "") if field else item[0],
            reverse=sort_direction.lower() != "asc",
        )
        size = min(max(page_size, 10), 200)
        start = (max(page, 1) - 1) * size
        return list(_states(dict(ordered[start : start + size])).items()), len(ordered)

    async def get_docs_by_statuses_page(
        self,
        statuses: list[DocStatus],
        *,
        limit: int,
        position: CursorPosition = CURSOR_START,
        strict: bool = False,
    ) -> DocStatusPage:
        """The next documents in any of the statuses, oldest first."""
        if limit < 1:
            raise ValueError(f"a page needs at least one row, not {limit}")
        if position is CURSOR_END or not statuses:
            return DocStatusPage(docs={}, next_position=CURSOR_END)
        after = tuple(json.loads(position.opaque)) if isinstance(position, CursorAfter) else ("", "")
        found = self._table.page([status.value for status in statuses], after=after, limit=limit)
        if len(found) < limit:
            return DocStatusPage(docs=_schedule(found), next_position=CURSOR_END)
        last, record = next(reversed(found.items()))
        next_position = CursorAfter(json.dumps([record.get("created_at") or "", last]))
        return DocStatusPage(docs=_schedule(found), next_position=next_position)

    async def get_docs_by_ids(self, doc_ids: Sequence[str], *, strict: bool = False) -> dict[str, DocSchedulingRecord]:
        """What is needed to schedule these documents, of those that exist."""
        return _schedule(self._table.get(doc_ids))

    async def get_full_docs_by_ids(
        self, doc_ids: Sequence[str], *, strict: bool = False
    ) -> dict[str, DocProcessingStatus]:
        """All there is of these documents, of those that exist."""
        return _states(self._table.get(doc_ids))

    async def get_doc_by_file_path(self, file_path: str) -> Record | None:
        """The oldest record of a file."""
        return next(iter(self._table.with_file(file_path, limit=1).values()), None)

    async def get_doc_by_file_basename(self, basename: str) -> tuple[str, Record] | None:
        """The oldest record of a file that is no duplicate."""
        if not basename or basename == _NO_SOURCE:
            return None
        return next(iter(self._table.owners_of_file(basename, limit=1).items()), None)

    async def get_doc_by_content_hash(
        self, content_hash: str, *, exclude_doc_id: str | None = None
    ) -> tuple[str, Record] | None:
        """The oldest record with this content which is neither the excluded document nor a duplicate of it."""
        if not content_hash:
            return None
        for key, record in self._table.with_hash(content_hash).items():
            if key != exclude_doc_id and not self._row_points_at_as_duplicate(record, exclude_doc_id):
                return key, record
        return None

    async def resolve_doc_source_strict(self, canonical_source_key: str) -> SourceResolution:
        """Which document a file belongs to."""
        if not canonical_source_key or canonical_source_key == _NO_SOURCE:
            return SourceAbsent()
        owners = self._table.owners_of_file(canonical_source_key, limit=2)
        if not owners:
            return SourceAbsent()
        if len(owners) > 1:
            return SourceConflict(candidate_count=None, sample_doc_ids=tuple(sorted(owners)))
        [(key, record)] = _schedule(owners).items()
        return SourceUnique(doc_id=key, doc=record)


def _plain(record: Mapping[str, Any]) -> Record:
    """The record with its status as a plain string."""
    status = record.get("status")
    return {**record, "status": status.value} if isinstance(status, DocStatus) else dict(record)


def _states(records: Mapping[str, Record]) -> dict[str, DocProcessingStatus]:
    defaults: Record = {"metadata": {}, "error_msg": None}
    return {
        key: DocProcessingStatus.from_stored(
            defaults
            | record
            | {"status": DocStatus(record["status"]), "file_path": record.get("file_path") or _NO_FILE}
        )
        for key, record in records.items()
    }


def _schedule(records: Mapping[str, Record]) -> dict[str, DocSchedulingRecord]:
    return {key: _scheduling_record(key, record) for key, record in records.items()}


def _scheduling_record(key: str, record: Record) -> DocSchedulingRecord:
    metadata = record.get("metadata")
    journal = metadata.get(CUSTOM_CHUNK_PATCH_METADATA_KEY) if isinstance(metadata, dict) else None
    return DocSchedulingRecord(
        id=key,
        status=DocStatus(record["status"]),
        created_at=record["created_at"],
        updated_at=record.get("updated_at") or record["created_at"],
        file_path=record.get("file_path") or _NO_FILE,
        track_id=record.get("track_id"),
        has_custom_chunk_journal=isinstance(journal, dict),
    )
