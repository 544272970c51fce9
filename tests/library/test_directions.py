"""Rules for script that is read from right to left, wherever the file has put its letters."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.library.directions import in_reading_order
from cmo.library.lines import Line, Word
from cmo.library.pdf import read_pdf


def line(text: str) -> Line:
    """A line whose words stand as `text` shows them from left to right; an underscore joins two words."""
    words, left = [], 100.0
    for piece in text.split():
        for part in piece.split("_"):
            right = left + 5.0 * len(part)
            words.append(Word(part, left, right, 700.0, 10.0, "Times", " "))
            left = right
        left += 4.0
    return Line(words=tuple(words))


@pytest.mark.parametrize(
    ("shown", "read"),
    [
        ("הלאמה הלע זוכולגה", "זוכולגה הלע הלאמה"),
        ("רטיל לכל 1.8 היה", "היה 1.8 לכל רטיל"),
        ("הנושארה alpha beta הצובקב", "הצובקב alpha beta הנושארה"),
        (".הלע", ".הלע"),
        ("._הלע הוא", "הוא הלע."),
        ("The word הלע הוא means this.", "The word הוא הלע means this."),
        ("Glucose rose.", "Glucose rose."),
    ],
)
def test_words_are_read_from_the_side_where_their_script_begins(shown: str, read: str) -> None:
    assert line(shown).text == read


def test_brackets_open_before_they_close() -> None:
    assert line("הצובקב )1.8( היה").text == "היה (1.8) הצובקב"


def test_the_order_in_the_file_does_not_matter() -> None:
    words = line("הלאמה alpha beta הלע זוכולגה").words

    assert Line(words=words[::-1]).text == Line(words=words).text == "זוכולגה הלע alpha beta הלאמה"


@given(st.lists(st.tuples(st.sampled_from(["a", "1", ".", "ה", "ع"]), st.integers(0, 5))))
def test_nothing_is_lost_and_nothing_added(items: list[tuple[str, int]]) -> None:
    ordered = in_reading_order(items, text=lambda item: item[0], place=lambda item: item[1])

    assert sorted(ordered) == sorted(items)


def test_a_pdf_of_many_scripts_is_read_in_the_order_of_each(shared: Path) -> None:
    (page,) = read_pdf(shared / "nasty_pdfs" / "pypdf__multilang.pdf")

    for words in ("مرحبا بالعالم", "Привет, мир", "你好世界", "สวัสดีชาวโลก", "こんにちは世界"):
        assert words in page.text
