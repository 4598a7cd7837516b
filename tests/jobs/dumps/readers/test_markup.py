import time
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from specter_jobs.dumps.readers.markup import element_text, fragment_text, plain_text, without_markup


def text_of(xml: str) -> str | None:
    return element_text(etree.fromstring(xml))


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("plain text", "plain text"),
        ("  two\n  lines ", "two lines"),
        ("", None),
        ("<jats:p> </jats:p>", None),
        ("<jats:p>One.</jats:p><jats:p>Two.</jats:p>", "One. Two."),
        ("<p>H<sub>2</sub>O at 10<sup>3</sup> Pa</p>", "H2O at 103 Pa"),
        ("<jats:p>Fish &amp; chips, 5 &lt; 6, &#945;&#x3b2;</jats:p>", "Fish & chips, 5 < 6, αβ"),
        ("<jats:p>caf&eacute;&nbsp;&alpha; &unknown;</jats:p>", "café α &unknown;"),
        ("<jats:list><jats:list-item>a</jats:list-item><jats:list-item>b</jats:list-item></jats:list>", "a b"),
        ("one<jats:break/>two", "one two"),
        (
            '<jats:p>See <jats:ext-link xlink:href="https://a.example">the page</jats:ext-link>.</jats:p>',
            "See the page.",
        ),
        ("<jats:p>kept <!-- dropped --> whole</jats:p>", "kept whole"),
    ],
)
def test_mark_up_becomes_the_text_a_reader_sees(fragment: str, text: str | None) -> None:
    assert fragment_text(fragment) == text


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("p < 0.05 & q > 1", "p < 0.05 & q > 1"),
        ("<jats:p>never closed <jats:italic>at all", "never closed at all"),
        ("<jats:p>wrong </jats:italic> end</jats:p>", "wrong end"),
    ],
)
def test_mark_up_that_is_not_well_formed_still_gives_its_text(fragment: str, text: str) -> None:
    assert fragment_text(fragment) == text


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("<jats:p>&lt;p&gt;Escaped &lt;i&gt;twice&lt;/i&gt;.&lt;/p&gt;</jats:p>", "Escaped twice."),
        ("Fish &amp;amp; chips", "Fish & chips"),
        ("<jats:p>if a &lt;b and c&gt; d</jats:p>", "if a <b and c> d"),
    ],
)
def test_mark_up_escaped_once_too_often_is_dissolved_and_comparisons_are_not(fragment: str, text: str) -> None:
    assert fragment_text(fragment) == text


def test_titles_of_sections_stay_as_headings() -> None:
    fragment = """<jats:sec><jats:title>Background</jats:title><jats:p>Why.</jats:p></jats:sec>
        <jats:sec><jats:title>What <jats:italic>next</jats:italic></jats:title> <jats:p>Then.</jats:p></jats:sec>
        <jats:sec><jats:title>So?</jats:title><jats:p>Yes.</jats:p></jats:sec><jats:title/>"""
    assert fragment_text(fragment) == "Background: Why. What next: Then. So? Yes."


@pytest.mark.parametrize(
    "fragment",
    [
        "<jats:title>Abstract</jats:title><jats:p>We show.</jats:p>",
        "<jats:title>ABSTRACT</jats:title>\n<jats:p>We show.</jats:p>",
        "<jats:p>Abstract</jats:p><jats:p>We show.</jats:p>",
        "<jats:p><jats:bold>Abstract:</jats:bold> We show.</jats:p>",
        "<jats:p><jats:bold>Abstract</jats:bold> We show.</jats:p>",
        "<jats:p>ABSTRACT We show.</jats:p>",
        "<jats:p>AbstractWe show.</jats:p>",
        "Abstract. We show.",
        "Abstract — We show.",
    ],
)
def test_a_leading_heading_abstract_is_dropped(fragment: str) -> None:
    assert fragment_text(fragment, heading=True) == "We show."


@pytest.mark.parametrize("text", ["Abstract algebra is old.", "Abstraction helps.", "Abstract-state machines run."])
def test_a_sentence_that_begins_with_abstract_is_kept(text: str) -> None:
    assert fragment_text(f"<jats:p>{text}</jats:p>", heading=True) == text
    assert fragment_text("Abstract", heading=False) == "Abstract"


def test_formulas_lose_their_indents_and_their_second_spelling() -> None:
    fragment = r"""<jats:p>of <jats:inline-formula>
          <jats:alternatives><jats:tex-math>$$\alpha$$</jats:tex-math>
          <mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML">
            <mml:mi>α</mml:mi>
            <mml:mo>=</mml:mo>
            <mml:mfrac><mml:mn>1</mml:mn><mml:mn>2</mml:mn></mml:mfrac>
            <mml:annotation>alpha</mml:annotation>
          </mml:math></jats:alternatives>
        </jats:inline-formula>-sets</jats:p>"""
    assert fragment_text(fragment) == "of α=1/2-sets"


def test_a_formula_in_tex_alone_is_kept_without_its_preamble() -> None:
    tex = r"\documentclass{minimal}\usepackage{amsmath}\begin{document}$$x^2$$\end{document}"
    assert fragment_text(f"<jats:p>where <jats:tex-math>{tex}</jats:tex-math> grows</jats:p>") == "where x^2 grows"


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("between<i>Chlamydia</i>Infection and", "between Chlamydia Infection and"),
        ("screening of<i>Bacillus</i>spores", "screening of Bacillus spores"),
        ("infection with<i>C. albicans</i>in mice", "infection with C. albicans in mice"),
        ("Let<mml:math><mml:mi>G</mml:mi></mml:math>be a group", "Let G be a group"),
        ("m<i>RNA</i>s, <i>p</i>-value, <i>N</i>-methyl", "mRNAs, p-value, N-methyl"),
        ("<b>M</b>ulti<b>T</b>ask", "MultiTask"),
        ("<b>Methods</b>We did.<b>Results</b>It was.", "Methods We did. Results It was."),
    ],
)
def test_words_glued_to_names_formulas_and_headings_are_parted(fragment: str, text: str) -> None:
    assert fragment_text(fragment) == text


def test_an_element_gives_its_text_without_guessing_at_glued_names() -> None:
    assert text_of("<T>trans<i>Bacillus</i>, CO<sub>2</sub> and\n <b>bold</b></T>") == "transBacillus, CO2 and bold"
    assert text_of("<T/>") is None
    assert text_of("<T>&amp;lt;5 &lt;i&gt;x&lt;/i&gt;</T>") == "<5 x"


def test_a_fragment_declares_no_entities() -> None:
    text = fragment_text("<!DOCTYPE x [<!ENTITY a 'bo'><!ENTITY b '&a;mb'>]><p>safe &b;</p>") or ""
    assert "safe" in text
    assert "bomb" not in text


def test_mark_up_nested_a_thousand_deep_does_not_break_the_reader() -> None:
    text = fragment_text("<i>" * 1_500 + "deep" + "</i>" * 1_500)
    assert text is None or set(text.split()) <= {"deep"}


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("Cells with a<b in rats & hens", "Cells with a<b in rats & hens"),
        ("<jats:p>p<0.01, x<y and y>z & so on</jats:p>", "p<0.01, x<y and y>z & so on"),
        ("<jats:p>a&lt;b&gt;c</jats:p>", "a<b>c"),
        ("a<b>c", "a<b>c"),
        ("i<j<k and <i>x</i><y", "i<j<k and x<y"),
        ("the mean <p> of it, an <S>-matrix", "the mean <p> of it, an <S>-matrix"),
        ("List<String> at <https://a.example>", "List<String> at <https://a.example>"),
        ("<i>E. coli in cows", "E. coli in cows"),
        ("One.<p>Two", "One. Two"),
        ("H<sub>2O, <span style='x'>y", "H2O, y"),
        ("A<![CDATA[x<y]]>B<!-- <i>gone</i> -->", "Ax<yB"),
        ("<B>Aim</B> &amp;lt;i&amp;gt;Mus&amp;lt;/i&amp;gt;", "Aim Mus"),
        ("&notit; &copy2020 R&D; &#8211;", "&notit; &copy2020 R&D; –"),
    ],
)
def test_only_real_mark_up_goes(fragment: str, text: str) -> None:
    assert fragment_text(fragment) == text
    assert plain_text(fragment) == text


def test_control_characters_are_no_marks() -> None:
    assert fragment_text("one\x00two\x1fthree\x02") == "onetwo three"


def test_text_without_mark_up_keeps_its_lines() -> None:
    assert without_markup("a < b\n c > d & e") == "a < b\n c > d & e"
    assert without_markup("a <i>b</i>\n c") == "a b c"
    assert without_markup(None) is None


@given(
    parts=st.lists(
        st.tuples(
            st.text(st.sampled_from("aby ><&=.,;05é∑"), max_size=12),
            st.sampled_from(["i", "sub", "jats:p", "mml:mi", "b", "jats:bold", "unknown"]),
        ),
        max_size=6,
    ),
    well_formed=st.booleans(),
)
def test_text_within_mark_up_survives(parts: list[tuple[str, str]], well_formed: bool) -> None:
    """lxml's own reading of the same mark-up is the second opinion, but for blanks between blocks."""
    fragment = "".join(f"<{tag}>{escape(text)}</{tag}>" for text, tag in parts)
    root = etree.fromstring(f'<x xmlns:jats="j" xmlns:mml="m">{fragment}</x>')
    seen = "".join(root.itertext())
    found = fragment_text(fragment if well_formed else f"<i>{fragment}</x> & ") or ""
    for letter in "0y5é∑=":
        assert found.count(letter) == seen.count(letter)


@given(text=st.text(st.sampled_from("mxyz <=.,;05é∑&/"), max_size=40))
def test_text_that_holds_no_tag_is_kept_whole(text: str) -> None:
    whole = " ".join(text.split()) or None
    assert fragment_text(text) == plain_text(text) == whole


@given(text=st.text(max_size=60) | st.text(st.sampled_from("<>/!-[]CDATA&;#xbip =\\\"'"), max_size=60))
def test_whatever_the_text_is_it_is_read(text: str) -> None:
    found = fragment_text(text, heading=True)
    assert found is None or found == " ".join(found.split())


@pytest.mark.parametrize(
    "piece", ["<", "<!--", '<a x="', "<![CDATA[", "<!DOCTYPE [", "&", "<a   ", "<i>", "<p>", "</i>"]
)
def test_odd_text_takes_time_by_its_length(piece: str) -> None:
    began = time.process_time()
    fragment_text(piece * 10_000)
    assert time.process_time() - began < 5
