import asyncio
import dataclasses
import json
import logging
import tracemalloc
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.errors import StorageUnavailable
from cmo.storage.response_cache import (
    COMPRESSED_FROM_BYTES,
    FORMAT,
    KEPT,
    LARGEST_BYTES,
    PATIENCE_SECONDS,
    ResponseCache,
    key_of,
    normalised,
)
from cmo.values import Citation, Draft

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = 3_600.0
CIRCUMSTANCES = {
    "engine": "lightrag",
    "mode": "mix",
    "language": "en",
    "index_version": "g0001",
    "model": "embedded",
}


class FakeClock:
    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time

    def go_on(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class FakeStore:
    """Keeps bytes in a dict for ever."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.seconds: dict[str, float] = {}

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def ping(self) -> None: ...

    async def read(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def write(self, key: str, value: bytes, *, seconds: float) -> None:
        self.values[key] = value
        self.seconds[key] = seconds


class BrokenStore(FakeStore):
    """Fails at everything, with a message that names a password."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[str] = []

    async def _fail(self, step: str) -> None:
        self.tried.append(step)
        raise StorageUnavailable("redis://:canary@host is down")

    async def open(self) -> None:
        await self._fail("open")

    async def ping(self) -> None:
        await self._fail("ping")

    async def read(self, key: str) -> bytes | None:
        await self._fail("read")
        return None

    async def write(self, key: str, value: bytes, *, seconds: float) -> None:
        await self._fail("write")


class HangingStore(BrokenStore):
    """Never answers."""

    async def _fail(self, step: str) -> None:
        self.tried.append(step)
        if step != "open":
            await asyncio.Event().wait()


def draft(text: str = "Alanine is an amino acid [1].", *, degraded: bool = False) -> Draft:
    return Draft(
        text=text,
        answered=True,
        model="embedded",
        citations=(
            Citation(
                number=1,
                document="a b.pdf",
                title="Über Alanin",
                page=3,
                quote="Alanine – an amino acid – is non-essential.",
                url="/papers/doc-1#page=3",
                doc_id="doc-1",
                authors=("Ada Núñez", "B. Li"),
                year=2019,
                doi="10.1000/alanine",
                passage="Of twenty, one is simple. Alanine – an amino acid – is non-essential.",
                confidence=0.5,
            ),
        ),
        written=True,
        generation="g0001",
        mode="mix",
        confidence=0.75,
        degraded=degraded,
        dropped_markers=2,
        notices=("The match is uncertain.",),
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def cache(store: FakeStore, clock: FakeClock) -> ResponseCache:
    return ResponseCache(store, seconds=HOUR, clock=clock)


def key(question: str = "What is alanine?", **changes: object) -> str:
    return key_of(question, **{**CIRCUMSTANCES, **changes})  # type: ignore[arg-type]


async def test_an_answer_comes_back_whole_with_its_age(cache: ResponseCache, clock: FakeClock) -> None:
    await cache.put("k", draft())
    clock.go_on(60)

    found = await cache.get("k")
    assert found is not None
    assert (found.draft, found.made_at, found.age_seconds) == (draft(), NOON, 60.0)


async def test_what_was_never_put_is_not_there(cache: ResponseCache) -> None:
    assert await cache.get("k") is None
    assert await cache.get_stale("k") is None


async def test_an_old_answer_is_there_only_for_when_nobody_answers(cache: ResponseCache, clock: FakeClock) -> None:
    await cache.put("k", draft())
    clock.go_on(HOUR)
    assert await cache.get("k") is not None
    clock.go_on(1)
    assert await cache.get("k") is None

    stale = await cache.get_stale("k")
    assert stale is not None
    assert (stale.draft, stale.age_seconds) == (draft(), HOUR + 1)


async def test_after_a_week_an_answer_is_gone(cache: ResponseCache, clock: FakeClock) -> None:
    await cache.put("k", draft())
    clock.go_on(KEPT.total_seconds())
    assert await cache.get_stale("k") is not None
    clock.go_on(1)
    assert await cache.get_stale("k") is None


async def test_an_answer_given_again_for_a_month_is_kept_as_long(store: FakeStore, clock: FakeClock) -> None:
    month = 30 * 24 * HOUR
    cache = ResponseCache(store, seconds=month, clock=clock)
    await cache.put("k", draft())
    clock.go_on(month)

    assert await cache.get("k") is not None
    assert store.seconds == {"k": month}


async def test_a_put_may_shorten_the_time_but_not_lengthen_it(cache: ResponseCache, clock: FakeClock) -> None:
    await cache.put("news", draft(), seconds=300)
    await cache.put("more", draft(), seconds=10 * HOUR)
    clock.go_on(301)
    assert await cache.get("news") is None
    assert await cache.get("more") is not None
    clock.go_on(HOUR)
    assert await cache.get("more") is None


async def test_a_clock_that_runs_behind_makes_no_answer_younger_than_new(
    cache: ResponseCache, clock: FakeClock
) -> None:
    await cache.put("k", draft())
    clock.go_on(-5)

    found = await cache.get("k")
    assert found is not None
    assert found.age_seconds == 0.0


async def test_a_degraded_answer_is_not_kept(cache: ResponseCache, store: FakeStore) -> None:
    await cache.put("k", draft(degraded=True))

    assert store.values == {}


async def test_a_later_answer_takes_the_place_of_an_earlier_one(cache: ResponseCache) -> None:
    await cache.put("k", draft("first"))
    await cache.put("k", draft("second"))

    found = await cache.get("k")
    assert found is not None
    assert found.draft.text == "second"


async def test_what_is_stored_is_json(cache: ResponseCache, store: FakeStore) -> None:
    await cache.put("k", draft())

    [value] = store.values.values()
    assert value.startswith(FORMAT + b"j{")
    assert json.loads(value[2:])["draft"]["text"] == draft().text


@pytest.mark.parametrize("words", [10, 10_000])
async def test_large_answers_are_compressed_and_come_back_the_same(
    cache: ResponseCache, store: FakeStore, words: int
) -> None:
    long = draft("Alanin ist eine Aminosäure. " * words)
    await cache.put("k", long)

    [value] = store.values.values()
    is_large = len(long.text) > COMPRESSED_FROM_BYTES
    assert (value[:2] == FORMAT + b"z") == is_large
    assert (len(value) < len(long.text) / 20) == is_large
    found = await cache.get("k")
    assert found is not None
    assert found.draft == long


async def test_an_answer_over_the_limit_is_not_kept(cache: ResponseCache, store: FakeStore) -> None:
    await cache.put("fits", draft("x" * (LARGEST_BYTES - 2_000)))
    await cache.put("too large", draft("x" * LARGEST_BYTES))

    assert list(store.values) == ["fits"]
    assert await cache.get("fits") is not None


async def test_text_that_is_no_unicode_is_not_kept_and_breaks_nothing(cache: ResponseCache, store: FakeStore) -> None:
    await cache.put("k", draft("half a pair: \ud83d"))

    assert store.values == {}


def stored(**changes: object) -> bytes:
    entry = {"made_at": NOON.isoformat(), "fresh_seconds": HOUR, "draft": dataclasses.asdict(draft())} | changes
    return json.dumps(entry).encode()


def of_draft(**changes: object) -> bytes:
    return stored(draft=dataclasses.asdict(draft()) | changes)


MALFORMED = {
    "nothing": b"",
    "a format and nothing else": FORMAT,
    "an older format": b"2j" + stored(),
    "a newer format": b"4j" + stored(),
    "an unknown packing": FORMAT + b"?" + stored(),
    "cut off": FORMAT + b"j" + stored()[:-1],
    "a draft of fewer fields": FORMAT + b"j" + stored(draft={"text": "no more than that"}),
    "a draft of more fields": FORMAT + b"j" + of_draft(of_tomorrow=1),
    "a field of another type": FORMAT + b"j" + of_draft(text=1),
    "a field that only looks right": FORMAT + b"j" + of_draft(answered="yes"),
    "a time without a zone": FORMAT + b"j" + stored(made_at="2026-03-01T12:00:00"),
    "no time": FORMAT + b"j" + stored(made_at="yesterday"),
    "more than an entry": FORMAT + b"j" + stored(more=1),
    "another JSON": FORMAT + b"jnull",
    "not compressed": FORMAT + b"z" + stored(),
    "compressed and cut off": FORMAT + b"z" + zlib.compress(stored())[:-40],
    "too large when unpacked": FORMAT + b"z" + zlib.compress(of_draft(text="x" * 10 * LARGEST_BYTES)),
    "too large": FORMAT + b"j" + of_draft(text="x" * LARGEST_BYTES),
    "a pickle": b"\x80\x05N.",
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
async def test_an_entry_of_another_version_or_malformed_is_a_miss(
    cache: ResponseCache, store: FakeStore, value: bytes
) -> None:
    store.values["k"] = value

    assert await cache.get("k") is None
    assert await cache.get_stale("k") is None


async def test_a_small_entry_that_unpacks_to_a_huge_one_takes_no_memory(cache: ResponseCache, store: FakeStore) -> None:
    store.values["k"] = FORMAT + b"z" + zlib.compress(of_draft(text="x" * 20 * LARGEST_BYTES))
    tracemalloc.start()
    assert await cache.get("k") is None
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 5 * LARGEST_BYTES


async def test_an_entry_made_by_hand_like_those_above_is_read(cache: ResponseCache, store: FakeStore) -> None:
    store.values["plain"] = FORMAT + b"j" + stored()
    store.values["compressed"] = FORMAT + b"z" + zlib.compress(stored())

    for name in store.values:
        found = await cache.get(name)
        assert found is not None
        assert found.draft == draft()


def test_a_changed_draft_is_another_format() -> None:
    """Whoever changes these fields raises FORMAT, so that no entry is read as something it was not written as."""
    fields = [field.name for kind in (Draft, Citation) for field in dataclasses.fields(kind)]
    draft_fields = (
        "text answered model citations written generation mode confidence degraded dropped_markers notices".split()
    )
    citation_fields = "number document title page quote url doc_id date authors year doi passage confidence".split()

    assert (FORMAT, fields) == (b"3", draft_fields + citation_fields)


async def test_a_store_that_fails_is_a_miss_and_is_told_without_its_message(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = BrokenStore()
    cache = ResponseCache(store, seconds=HOUR, clock=clock)
    with caplog.at_level(logging.DEBUG):
        await cache.open()
        await cache.put("k", draft())
        assert await cache.get("k") is None
        assert await cache.get_stale("k") is None

    assert store.tried == ["open", "write", "read", "read"]
    told = [(record.getMessage(), record.cmo_fields) for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [("response_cache_failed", {"step": step, "error": "StorageUnavailable"}) for step in store.tried]
    assert "canary" not in caplog.text


async def test_a_store_that_hangs_delays_nobody_for_long(clock: FakeClock) -> None:
    store = HangingStore()
    cache = ResponseCache(store, seconds=HOUR, clock=clock)
    started = asyncio.get_running_loop().time()
    steps = await asyncio.gather(cache.get("k"), cache.get_stale("k"), cache.put("k", draft()))

    assert steps == [None, None, None]
    assert store.tried == ["read", "read", "write"]
    assert asyncio.get_running_loop().time() - started < PATIENCE_SECONDS + 1


@pytest.mark.parametrize("kind", [BrokenStore, HangingStore])
async def test_a_ping_tells_that_the_store_does_not_answer(kind: type[BrokenStore], clock: FakeClock) -> None:
    cache = ResponseCache(kind(), seconds=HOUR, clock=clock)

    with pytest.raises(StorageUnavailable):
        await cache.ping()


async def test_somebody_who_stops_waiting_for_the_store_is_let_go(clock: FakeClock) -> None:
    store = HangingStore()
    looking = asyncio.create_task(ResponseCache(store, seconds=HOUR, clock=clock).get("k"))
    await asyncio.sleep(0)
    looking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await looking
    assert store.tried == ["read"]


QUESTIONS = st.text(max_size=80)
SPACES = st.text(alphabet=" \t\n\u00a0\u2003\u3000", min_size=1, max_size=3)
ENDS = st.text(alphabet=" ?!.,;:？！。\u037e…", max_size=4)


def test_a_key_is_the_same_in_every_process() -> None:
    """The SHA-256 of ["what is alanine", "lightrag", "mix", "en", "g0001", "embedded", ["10 passages"]]."""
    assert key(options=["10 passages"]) == "3e7c6d87f57b428c4cdb50feb7e55bedb024db39c90d1ae3b3e1504d61647c88"


@given(QUESTIONS)
def test_normalising_twice_changes_nothing(question: str) -> None:
    assert normalised(normalised(question)) == normalised(question)


@given(st.lists(st.text(alphabet="abcdefgéøµ123αβ-()", min_size=1, max_size=8), min_size=1), SPACES, SPACES, ENDS)
def test_white_space_first_capitals_and_final_signs_make_no_difference(
    words: list[str], between: str, around: str, end: str
) -> None:
    question = " ".join(words)
    variant = around + between.join(words) + end + around

    capital = " ".join(word[:1].upper() + word[1:] for word in variant.split())
    assert key(variant) == key(capital) == key(question)


def test_capitals_inside_a_word_tell_questions_apart() -> None:
    assert key("Is CO toxic?") != key("Is Co toxic?")


@pytest.mark.parametrize(
    ("question", "other"),
    [
        ("What is H₂O?", "what is H2O"),
        ("ｗｈａｔ ｉｓ ＡＴＰ？", "What is ATP?"),
        ("¿Qué es la alanina?", "qué es la alanina"),
        ("Que\u0301 es", "Qué es"),
        ("5 µM", "5 μM"),
        ("ما هو الألانين؟", "ما هو الألانين"),
        ("アラニンとは何ですか。", "アラニンとは何ですか"),
    ],
)
def test_other_spellings_of_the_same_share_a_key(question: str, other: str) -> None:
    assert key(question) == key(other)


@pytest.mark.parametrize(
    ("question", "other"),
    [
        ("Is 10⁵ enough?", "Is 105 enough?"),
        ("Is 10⁻⁵ enough?", "Is 10⁵ enough?"),
        ("Is 5% enough?", "Is 5 enough?"),
        ("What is Lp(a)?", "What is Lp(a?"),
        ("What is Na+?", "What is Na?"),
        ("What is alpha-alanine?", "What is beta-alanine?"),
        ("What is α-alanine?", "What is β-alanine?"),
        ("Is resume there?", "Is résumé there?"),
    ],
)
def test_what_makes_a_difference_stays_apart(question: str, other: str) -> None:
    assert key(question) != key(other)


@given(
    st.sampled_from(sorted(CIRCUMSTANCES)),
    st.text(max_size=8),
    QUESTIONS,
)
def test_another_engine_mode_language_index_or_model_never_shares_a_key(name: str, other: str, question: str) -> None:
    assert (key(question, **{name: other}) == key(question)) == (other == CIRCUMSTANCES[name])


NAMES = st.text(alphabet='ab",[]\\ ', max_size=4)


@given(st.lists(NAMES, min_size=7, max_size=7), st.lists(NAMES, min_size=7, max_size=7))
def test_no_two_sets_of_circumstances_share_a_key(one: list[str], other: list[str]) -> None:
    def of(question: str, engine: str, mode: str, language: str, version: str, model: str, *options: str) -> str:
        return key_of(
            question,
            engine=engine,
            mode=mode,
            language=language,
            index_version=version,
            model=model,
            options=options,
        )

    same = [normalised(one[0]), *one[1:]] == [normalised(other[0]), *other[1:]]
    assert (of(*one) == of(*other)) == same
    assert of(*one) != of(*one, "")
    assert of(*one[:-1]) != of(*one)
