"""Convert JATS, MathML and HTML tags in titles and abstracts to plain text."""

from __future__ import annotations

import html
import re

from lxml import etree

from specter_jobs.dumps.readers.markup_tags import has_markup, has_tags, tree_of, usable

# Elements that are left out with their content: a second version of a formula, and text that a page does not show.
_DROPPED = frozenset(("annotation", "annotation-xml", "script", "style"))
_TITLES = frozenset(("title", "h1", "h2", "h3", "h4"))
_BLOCKS = _TITLES | frozenset(("abstract", "trans-abstract", "sec", "p", "div", "label", "break", "br", "disp-quote"))
_BLOCKS |= frozenset(("list", "list-item", "def-item", "def", "ul", "ol", "li", "dt", "dd", "table", "tr", "th", "td"))
_BLOCKS |= frozenset(("disp-formula", "dispformula"))
_SLANTED = frozenset(("italic", "i", "em"))
_BOLD = frozenset(("bold", "b", "strong"))
_MATH = frozenset(("math", "semantics", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mstyle", "mpadded", "mphantom"))
_MATH |= frozenset(("msub", "msup", "msubsup", "munder", "mover", "munderover", "mmultiscripts", "mfrac", "msqrt"))
_MATH |= frozenset(("mroot", "mfenced", "mtable", "mtr", "mtd", "inline-formula", "alternatives"))
# Maximum number of times that text is unescaped. Some mark-up was escaped again in each format that it passed through.
ESCAPED_TIMES = 3
# Control characters that XML text cannot contain, so they never occur in the text itself.
_TITLE_END, _BLOCK_END, _SLANT, _FORMULA, _FORMULA_END, _BOLD_START, _BOLD_END = map(chr, range(7))

_TEX_BODY = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)
_HEADING = re.compile(
    r"[\s\x01\x02\x05]*(?:(?i:abstract)\s*(?:[\x00\x01\x06]|[:.]\s*|[—–-]\s)|ABSTRACT\s+(?=[A-Z][a-z])|A(?i:bstract)(?=[A-Z][a-z]))"
)
_TITLE = re.compile(r"([^\s\x00-\x06])[\s\x02-\x06]*\x00")
# Some publishers leave out the blanks around italic names and formulas: "with<i>Chlamydia</i>infection". Each pattern
# begins with its mark, so that the search for it is fast.
_GLUED_NAME = re.compile(r"\x02(?:(?<=[^\W\d_]{3}\x02)(?=[^\W\d_]{2})|(?<=[^\W\d_]{2}\x02)(?=[A-Z][a-z.]))")
_GLUED_FORMULA = re.compile(r"\x03(?:(?<=[^\W\d_]\x03)|(?<=[,;]\x03))(?=\S)")
_GLUED_FORMULA_END = re.compile(r"\x04(?<=\S\x04)(?=[^\W\d_])")
# Others leave out the blank after a bold heading: "<b>Methods</b>We". Bold letters inside a word mark an acronym and
# get no blank.
_GLUED_HEADING = re.compile(r"(?:\x05(?<=[.?!]\x05)|\x06(?<=[a-z]{3}\x06))(?=[A-Z])")


def collapse(text: str | None) -> str | None:
    """Return a text with every run of white space replaced by one blank; None if nothing is left."""
    return " ".join(text.split()) or None if text else None


def element_text(element: etree._Element) -> str | None:
    """Return the plain text of an XML element, without inline tags and with a blank between blocks."""
    if not len(element):
        return plain_text(element.text or "")
    return plain_text(_plain(_marked_text(element), glued=False))


def fragment_text(fragment: str, *, heading: bool = False) -> str | None:
    """Return the plain text of a fragment of JATS or HTML mark-up, well-formed or not.

    Args:
        fragment: Mark-up from a JSON value. Titles of sections become "Title: ".
        heading: True to remove a leading heading "Abstract".
    """
    marked = usable(fragment)
    if has_markup(marked):
        marked = _marked_text(tree_of(marked))
    for _ in range(1, ESCAPED_TIMES):
        if not has_tags(marked):
            break
        marked = _marked_text(tree_of(_unmarked(marked)))
    if heading and (heading_match := _HEADING.match(marked)):
        marked = marked[heading_match.end() :]
    return plain_text(_plain(marked, glued=True))


def plain_text(text: str) -> str | None:
    """Return a text without tags and entities, and with its white space collapsed."""
    for _ in range(ESCAPED_TIMES):
        if not has_markup(text):
            break
        text = _plain(_marked_text(tree_of(text)), glued=False)
    return collapse(text)


def without_markup(text: str | None) -> str | None:
    """Return the plain text of a text with tags or entities, and any other text unchanged, with its line breaks."""
    return plain_text(text) if text and has_markup(text) else text


def _marked_text(root: etree._Element) -> str:
    """Return all text below an element, with marks after titles and blocks and around italics, bold and formulas."""
    pieces: list[str] = []
    # A stack of elements to open and texts to add, with the next item last. It avoids recursion in deep mark-up.
    todo: list[etree._Element | str] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, str):
            pieces.append(node)
            continue
        if isinstance(node, etree._Entity):  # lxml did not resolve it; only HTML's entity names are known here
            pieces.append(html.unescape(node.text or ""))
            continue
        name = node.tag.rpartition("}")[2].rpartition(":")[2].lower()
        if name in _DROPPED:
            continue
        if name == "tex-math":
            pieces.append(_tex(node))
            continue
        opening, closing = _ends(node, name)
        formula = name in _MATH
        pieces.append(opening)
        if node.text:
            pieces.append(_kept(node.text, formula))
        todo.append(closing)
        for number, child in reversed(list(enumerate(node))):
            if child.tail:
                todo.append(_kept(child.tail, formula))
            todo.append(child)
            if name == "mfrac" and number:
                todo.append("/")
    return "".join(pieces)


def _kept(text: str, formula: bool) -> str:
    """Return a text unchanged, or an empty text for the line breaks of pretty-printed MathML."""
    return "" if formula and text.isspace() else text


def _ends(node: etree._Element, name: str) -> tuple[str, str]:
    if name in _TITLES:
        return _BLOCK_END, _TITLE_END
    if name in _BLOCKS:
        return " ", _BLOCK_END
    if name in _SLANTED:
        return _SLANT, _SLANT
    if name in _BOLD:
        return _BOLD_START, _BOLD_END
    if name == "math":
        return _FORMULA, _FORMULA_END
    if name == "mfenced":
        return node.get("open", "("), node.get("close", ")")
    return "", ""


def _tex(node: etree._Element) -> str:
    """Return a formula's TeX without its preamble; empty if the same formula is also there as MathML."""
    parent = node.getparent()
    if parent is not None and any(str(sibling.tag).endswith("math") for sibling in parent if sibling is not node):
        return ""
    source = "".join(str(text) for text in node.itertext())
    body = _TEX_BODY.search(source)
    return (body[1] if body else source).replace("$", "")


def _plain(marked: str, *, glued: bool) -> str:
    if _TITLE_END in marked:
        marked = _TITLE.sub(
            lambda section_title: section_title[1] + (" " if section_title[1] in ".:;?!" else ": "), marked
        )
    marked = _GLUED_HEADING.sub(" ", marked)
    if glued:
        for pattern in (_GLUED_NAME, _GLUED_FORMULA, _GLUED_FORMULA_END):
            marked = pattern.sub(" ", marked)
    return _unmarked(marked)


def _unmarked(marked: str) -> str:
    for mark in (_TITLE_END, _BLOCK_END):
        marked = marked.replace(mark, " ")
    for mark in (_SLANT, _FORMULA, _FORMULA_END, _BOLD_START, _BOLD_END):
        marked = marked.replace(mark, "")
    return marked
