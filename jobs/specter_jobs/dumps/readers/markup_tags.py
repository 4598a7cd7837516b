"""Find which `<…>` in a text are tags, and build a tree of them; other angle brackets are kept as text."""

import html
import re
from dataclasses import dataclass
from html.entities import html5

from lxml import etree

# Tag names of HTML, JATS and MathML, without namespace prefixes.
_HTML = """a abbr acronym address article aside b bdi bdo big blockquote body br caption center cite code col
    colgroup dd del details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 head header hr html i img
    ins kbd label li link main mark meta nav ol p pre q rp rt ruby s samp script section small span strike strong style
    sub summary sup table tbody td tfoot th thead title tr tt u ul var wbr"""
_JATS = """abstract alternatives bold break chem-struct chem-struct-wrap citation def def-item def-list disp-formula
    disp-formula-group disp-quote dispformula email ext-link fig fixed-case fn fn-group graphic inline-formula
    inline-graphic inline-supplementary-material institution italic list list-item media milestone-end milestone-start
    monospace named-content object-id overline private-char roman sans-serif sc scp sec sig-block styled-content term
    tex-math trans-abstract trans-title uri underline underline-start underline-end xref"""
_MATHML = """math maction maligngroup malignmark menclose merror mfenced mfrac mglyph mi mlabeledtr mmultiscripts mn mo
    mover mpadded mphantom mprescripts mroot mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder
    munderover none annotation annotation-xml semantics"""
_KNOWN = frozenset(f"{_HTML} {_JATS} {_MATHML}".split())
# Tags that never have an end tag.
_VOID = frozenset(["br", "break", "hr", "img", "wbr", "col", "meta", "link", "graphic", "inline-graphic", "none"])


_NAME = r"(?:[A-Za-z][A-Za-z0-9]*:)?[A-Za-z][A-Za-z0-9._-]*"
_ATTRIBUTE = r"""\s+[A-Za-z_:][\w:.-]*\s*=\s*(?:"[^"]*"|'[^']*'|[\w.%#/:-]+)"""
_TAG = re.compile(
    rf"<(?P<name>{_NAME})(?P<attributes>(?:{_ATTRIBUTE})*)\s*(?P<empty>/?)>"
    rf"|</(?P<end>{_NAME})\s*>"
    r"|<\?[A-Za-z][^<>]*\?>|<!(?:DOCTYPE|ENTITY)\b[^<>\[\]]*(?:\[[^\[\]]{0,1000}\][^<>\[\]]*)?>",
    re.IGNORECASE,
)
_FENCE = re.compile(r"""\b(open|close)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|([A-Za-z][A-Za-z0-9]{1,31}));")
# Characters that XML, and therefore lxml, cannot contain.
_UNUSABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# A tag that is never closed counts as a tag only at the beginning of a sentence. Elsewhere "<p>" is a mean value.
_BEFORE_SENTENCE = re.compile(r"(?:\A|[.!?:;>])\s*\Z")
_SENTENCE = re.compile(r"\s*[A-Z0-9(\"“‘<]")


# Maximum nesting depth. Real mark-up is less deep, and the time for a tree grows with the square of its depth.
MAX_DEPTH = 100


@dataclass(frozen=True)
class _Tag:
    """A tag in a text: its name in lower case without prefix, its position, and its kind."""

    name: str
    start: int
    stop: int
    kind: str  # "start", "end", "empty" or "declaration"
    known: bool


def has_tags(text: str) -> bool:
    """Return whether a text contains tags."""
    return "<" in text and (_with_sections_solved(text) != text or bool(_tags(text)))


def has_markup(text: str) -> bool:
    """Return whether a text contains tags or entities."""
    return has_tags(text) or ("&" in text and resolved(text) != text)


def tree_of(text: str) -> etree._Element:
    """Return a tree of the tags in a text, below an element `x`; tags may be malformed, and entities are resolved."""
    builder = etree.TreeBuilder()
    builder.start("x", {})
    open_: list[str] = []
    text = _with_sections_solved(text)
    at = 0
    for tag in _tags(text):
        builder.data(usable(resolved(text[at : tag.start])))
        at = tag.stop
        if tag.kind == "end":
            if tag.name in open_:
                while (name := open_.pop()) != tag.name:
                    builder.end(name)
                builder.end(tag.name)
        elif tag.kind != "declaration" and len(open_) < MAX_DEPTH:
            builder.start(tag.name, _fences(text[tag.start : tag.stop]) if tag.name == "mfenced" else {})
            if tag.kind == "start":
                open_.append(tag.name)
            else:
                builder.end(tag.name)
    builder.data(usable(resolved(text[at:])))
    for name in (*reversed(open_), "x"):
        builder.end(name)
    return builder.close()


def _with_sections_solved(text: str) -> str:
    """Return a text without comments and with CDATA sections as escaped text; without an end they are plain text."""
    for begin, end in (("<!--", "-->"), ("<![CDATA[", "]]>")):
        pieces, at = [], 0
        while (start := text.find(begin, at)) >= 0 and (stop := text.find(end, start + len(begin))) >= 0:
            inner = text[start + len(begin) : stop]
            pieces += [text[at:start], "" if begin == "<!--" else html.escape(inner, quote=False)]
            at = stop + len(end)
        text = "".join((*pieces, text[at:]))
    return text


def resolved(text: str) -> str:
    """Return a text with HTML entities replaced by their characters; other names after `&` are not changed."""
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(match: re.Match[str]) -> str:
    return html5.get(match[1] + ";", match[0]) if match[1] else html.unescape(match[0])


def usable(text: str) -> str:
    """Return a text without the control characters that XML does not allow."""
    return _UNUSABLE.sub(lambda match: " " if match[0].isspace() else "", text)


def _fences(tag: str) -> dict[str, str]:
    return {name: usable(resolved(double or single)) for name, double, single in _FENCE.findall(tag)}


def _tags(text: str) -> list[_Tag]:
    """Return the tags of a text, in order."""
    tags = [_tag(match) for match in _TAG.finditer(text)]
    paired = _paired(tags)
    return [tag for number, tag in enumerate(tags) if number in paired or _stands_alone(text, tag)]


def _tag(match: re.Match[str]) -> _Tag:
    whole = match["name"] or match["end"] or ""
    prefix, _, name = whole.lower().rpartition(":")
    if not whole:
        return _Tag("", match.start(), match.end(), "declaration", known=True)
    kind = "end" if match["end"] else "empty" if match["empty"] or name in _VOID else "start"
    known = bool(prefix) or name in _KNOWN or bool(match["attributes"]) or bool(match["empty"])
    return _Tag(name, match.start(), match.end(), kind, known)


def _paired(tags: list[_Tag]) -> set[int]:
    """Return the indices of the tags that open and close each other."""
    waiting: dict[str, list[int]] = {}
    paired: set[int] = set()
    for number, tag in enumerate(tags):
        if tag.kind == "start":
            waiting.setdefault(tag.name, []).append(number)
        elif tag.kind == "end" and waiting.get(tag.name):
            paired.update((waiting[tag.name].pop(), number))
    return paired


def _stands_alone(text: str, tag: _Tag) -> bool:
    """Return whether a start or end tag without its partner is mark-up; a comparison such as `a<b>c` is not."""
    if tag.kind != "start":
        return tag.known
    if len(tag.name) > 1 or not tag.known or text[tag.start + 1 : tag.stop - 1] != text[tag.start + 1 : tag.start + 2]:
        return tag.known
    before = text[max(tag.start - 40, 0) : tag.start]
    return bool(_BEFORE_SENTENCE.search(before) and _SENTENCE.match(text, tag.stop))
