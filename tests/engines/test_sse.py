"""Server-sent events out of bytes, however they are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.engines.sse import LONGEST_EVENT, EventReader, EventTooLong

STREAM = (
    b"\xef\xbb\xbf: a comment\r\n"
    b'data: {"a": "\xc2\xb5mol/L \xf0\x9f\xa7\xaa"}\r\n\r\n'
    b"event: named\rid: 7\rretry: 10\rdata:no space\r\r"
    b"data: first line\ndata: second line\n\n"
    b"unknown: field\n\n"
    b"data\n\n"
    b"data: [DONE]\n\n"
)
EVENTS = ['{"a": "µmol/L 🧪"}', "no space", "first line\nsecond line", "", "[DONE]"]


def events(*chunks: bytes) -> list[str]:
    reader = EventReader()
    return [data for chunk in chunks for data in reader.feed(chunk)]


def test_line_ends_comments_and_other_fields_make_no_difference() -> None:
    assert events(STREAM) == EVENTS


@given(st.lists(st.integers(0, len(STREAM))))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]

    assert events(*(STREAM[start:end] for start, end in itertools.pairwise(places))) == EVENTS


def test_every_byte_may_come_alone() -> None:
    assert events(*(bytes([byte]) for byte in STREAM)) == EVENTS


def test_a_line_separator_of_unicode_ends_no_line() -> None:
    assert events("data: a\u2028b\u0085c\n\n".encode()) == ["a\u2028b\u0085c"]


def test_broken_utf8_is_replaced() -> None:
    assert events(b"data: \xff\n\n") == ["\ufffd"]


def test_an_event_without_its_blank_line_counts_at_the_end_of_the_stream() -> None:
    reader = EventReader()

    assert list(reader.feed(b"data: whole\n")) == []
    assert list(reader.finish()) == ["whole"]


def test_half_a_line_counts_for_nothing_at_the_end_of_the_stream() -> None:
    reader = EventReader()

    assert list(reader.feed(b"data: ha")) == []
    assert list(reader.finish()) == []


@pytest.mark.parametrize("line", [b"x", b"data: x\n"])
def test_an_event_that_does_not_end_is_given_up(line: bytes) -> None:
    reader = EventReader()
    chunk = line * (1024 * 1024 // len(line))

    def feed() -> None:
        for _ in range(9 * len(line)):
            list(reader.feed(chunk))

    with pytest.raises(EventTooLong):
        feed()


def test_a_long_event_is_read_whole() -> None:
    text = "x" * (LONGEST_EVENT // 4)

    assert events(f"data: {text}\n\n".encode()) == [text]
