import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.display import markdown_text, terminal_text, visible_text

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
MARKUP = st.text("\\`*_[]()<>|~&$#+-=.:/@!1a \nhtpsw", max_size=40)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("astro-ph", "astro-ph"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("two\nlines\r\tof text", r"two\nlines\r\tof text"),
        ("\x9b31m", r"\x9b31m"),
        ("caf\udce9.parquet", r"caf\xe9.parquet"),
        ("\ud83d", r"\ud83d"),
        ("txt.\u202eexe", r"txt.\u202eexe"),
        ("a\u2028b\u200bc\ufeffd", r"a\u2028b\u200bc\ufeffd"),
        ("\U000e0041\uffff", r"\U000e0041\uffff"),
        ("می\u200cخواهم 👩\u200d🔬 שלום", "می\u200cخواهم 👩\u200d🔬 שלום"),
        ("10\u00a0000 \ue000", "10\u00a0000 \ue000"),
        ("s3://KEY:hunter2@bucket/in", "s3://bucket/in"),
        (12, "12"),
        (None, "None"),
    ],
)
def test_a_terminal_is_shown_what_would_steer_it(value: object, shown: str) -> None:
    assert terminal_text(value) == shown


def test_line_breaks_can_be_kept() -> None:
    assert visible_text("one\ntwo\x00", keep="\n") == "one\ntwo\\x00"


@given(ANY_TEXT)
def test_nothing_that_is_shown_is_hidden_or_steers(value: str) -> None:
    for shown in (terminal_text(value), markdown_text(value)):
        shown.encode("utf-8")
        assert not {unicodedata.category(char) for char in shown if char not in "\u200c\u200d"} & {
            "Cc", "Cf", "Cs", "Zl", "Zp",
        }  # fmt: skip


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))))
def test_ordinary_text_is_shown_as_it_is(value: str) -> None:
    assert visible_text(value) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("astro-ph", "astro-ph"),
        ("part_0001_a.parquet", "part_0001_a.parquet"),
        ("-1", "-1"),
        ("3.5", "3.5"),
        ("pi|pe", r"pi\|pe"),
        ("two\nlines", r"two\\nlines"),
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("[click](https://evil.example)", r"\[click\](https\://evil.example)"),
        ("www.evil.example, @team", r"www\.evil.example, \@team"),
        ("**bold** _slanted_ `code`", r"\*\*bold\*\* \_slanted\_ \`code\`"),
        ("# heading", r"\# heading"),
        ("---", r"\---"),
        ("1. first", r"1\. first"),
        ("  indented", "&#32;&#32;indented"),
        ("  ", "&#32;&#32;"),
        ("", ""),
        ("a\\|b", r"a\\\|b"),
    ],
)
def test_markdown_shows_markup_and_does_not_obey(value: str, written: str) -> None:
    assert markdown_text(value) == written


@given(MARKUP)
def test_no_markup_is_left_in_markdown(value: str) -> None:
    written = markdown_text(value)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*<>\[\]|~$]", re.sub(r"\\.", "", written))
    assert not re.search(r"\w://", written)  # nothing becomes a link by itself
