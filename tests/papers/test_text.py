import hashlib
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.errors import ConfigError
from specter_batch.papers import text as papers_module
from specter_batch.papers.text import TEXT_TEMPLATE, check_template, normalised_text_hash, paper_text, text_hash

# Latin letters but the Turkish dotless i, whose capital is that of i.
latin = st.characters(categories=["Lu", "Ll", "Nd"], max_codepoint=0x17F, exclude_characters="ı")


# The one text of a paper


def test_title_and_abstract_are_parted_by_the_separator() -> None:
    assert paper_text(" A title ", "An abstract.\n") == "A title[SEP]An abstract."


@pytest.mark.parametrize(
    ("title", "abstract", "expected"), [("t", None, "t[SEP]"), (None, "a", "[SEP]a"), (None, None, "[SEP]")]
)
def test_a_missing_part_is_empty(title: str | None, abstract: str | None, expected: str) -> None:
    assert paper_text(title, abstract) == expected


def test_a_template_may_begin_with_the_abstract() -> None:
    assert paper_text("t", "a", "<{abstract}|{title}>") == "<a|t>"


@given(title=st.text(), abstract=st.text())
def test_braces_and_template_words_inside_a_paper_are_left_alone(title: str, abstract: str) -> None:
    title, abstract = "{abstract}" + title, abstract + "{title}{0}"
    assert paper_text(title, abstract, "{title} | {abstract}") == f"{title.strip()} | {abstract.strip()}"


@pytest.mark.parametrize("template", [TEXT_TEMPLATE, "{abstract} {title}", "Title: {title}. {abstract}"])
def test_a_template_with_both_parts_is_accepted(template: str) -> None:
    assert check_template(template) == template


@pytest.mark.parametrize(
    "template", ["", "{title}", "{abstract}", "{title}{title}{abstract}", "{title}{abstract}{venue}", "{} {}", "title"]
)
def test_a_template_without_both_parts_once_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match=r"holds \{title\} and \{abstract\} once each"):
        check_template(template)


# Hashes


@given(st.text(), st.text())
def test_a_text_hash_is_equal_for_equal_texts_only(one: str, other: str) -> None:
    assert (text_hash(one) == text_hash(other)) == (one == other)


def test_a_text_hash_is_128_bits_of_hex_and_never_changes() -> None:
    assert text_hash("A title[SEP]An abstract.") == "1525f33941d126380ffab5c7b515738e"


def test_a_normalised_hash_never_changes() -> None:
    assert normalised_text_hash("A title[SEP]An abstract.") == 3223230102755625948


@given(words=st.lists(st.text(latin, min_size=1)))
def test_case_punctuation_and_spacing_fold_away(words: list[str]) -> None:
    printed = "  " + " - ".join(word.upper() for word in words) + "!\n"
    assert normalised_text_hash(printed) == normalised_text_hash(" ".join(words))


@given(st.text())
def test_composed_and_decomposed_accents_fold_together(text: str) -> None:
    hashes = {normalised_text_hash(unicodedata.normalize(form, text)) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert hashes == {normalised_text_hash(text)}


@given(st.text())
def test_a_normalised_hash_fits_64_bits(text: str) -> None:
    assert int(np.uint64(normalised_text_hash(text))) == normalised_text_hash(text)


def test_ligatures_and_full_width_letters_fold_together() -> None:
    assert normalised_text_hash("Eﬃcacy of the ＤＮＡ") == normalised_text_hash("efficacy of the dna")


@pytest.mark.parametrize(("one", "other"), [("ab c", "a bc"), ("heart", "hearts"), ("grade 1", "grade 2"), ("", "a")])
def test_texts_of_other_words_have_other_normalised_hashes(one: str, other: str) -> None:
    assert normalised_text_hash(one) != normalised_text_hash(other)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([" ", "  ", "\u0301", "e\u0301", "ﬁ", "ß", "\u3000", "x" * 30, "."]), st.text(max_size=6)
        )
    ).map("".join)
)
def test_the_hash_for_the_leak_check_does_not_depend_on_where_a_long_text_is_cut(text: str) -> None:
    folded = unicodedata.normalize("NFKC", text).casefold()
    digest = hashlib.blake2b(" ".join(re.findall(r"\w+", folded)).encode(), digest_size=8).digest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(papers_module, "PART_CHARACTERS", 5)
        assert normalised_text_hash(text) == int.from_bytes(digest, "big")
