"""Read PubMed's baseline and update files with a streaming XML parser that is safe for untrusted files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from lxml import etree

from specter_batch.errors import ShardError, WrongFormatError
from specter_jobs.dumps.readers.markup import element_text
from specter_jobs.dumps.readers.mesh_headings import MeshHeading, mesh_class
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions

_ROOTS = ("PubmedArticleSet", "PubmedBookArticleSet", "MedlineCitationSet")
_DELETIONS = ("DeleteCitation", "DeleteDocument")
_RECORDS = ("PubmedArticle", "PubmedBookArticle", "MedlineCitation", *_DELETIONS)
# Section labels that do not describe their part of the abstract.
_EMPTY_LABELS = frozenset(("UNLABELLED", "UNLABELED", "UNASSIGNED", "ABSTRACT"))
_NO_TITLE = frozenset(("not available", "in process citation", "no title available"))
_YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")
# Elements with the date of a citation, in order of preference: print, online, added to PubMed.
_DATES = ("Journal/JournalIssue/PubDate", "Book/PubDate", "ArticleDate", "ContributionDate")
# `pubmed26n0001.xml.gz`: the year of the baseline, and the number of the file within that year and its updates.
_FILE_NUMBER = re.compile(r"(?:pubmed|medline)(\d\d)n(\d{4,})(?!\d)", re.IGNORECASE)
_FIRST_YEAR = 66  # first year of MEDLINE; smaller numbers are years from 2000 on
_HISTORY = "PubmedData/History/PubMedPubDate"


class PubmedReader:
    """Reads files such as `pubmed26n0001.xml.gz`, and the output of efetch.

    The brackets around a translated title are removed. If a citation has no English title, its vernacular title is
    used. Parts of an abstract become "LABEL: text". Deletions become tombstones. Positions are numbers of records from
    1, and each deleted PMID is one record. The only label is `mesh`; `mesh_headings` explains its limits.
    """

    name = "pubmed"
    suffixes = (".xml",)
    label_choices = ("mesh",)
    default_label = "mesh"

    def file_order(self, name: str) -> tuple[int, int] | None:
        """Return year and number from a file name, or None; later files replace and delete papers of earlier ones."""
        number = _FILE_NUMBER.search(name.rpartition("/")[2])
        return None if number is None else (_year_of(int(number[1])), int(number[2]))

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Yield the citations and deletions in file order.

        Entities are not expanded, no DTD is loaded and nothing is downloaded. The parser's limits (depth, 10 MB per
        text) stay active; a real citation has a few kB.

        Raises:
            ShardError: The XML is not well-formed, or is cut off. The records before that place have been yielded.
            WrongFormatError: The root element is not one of PubMed's.
        """
        parser = etree.iterparse(
            stream,
            tag=_RECORDS,
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        position = 0
        try:
            for _, element in parser:
                root = element.getparent()
                if root is None or root.getparent() is not None:
                    continue  # the MedlineCitation within a PubmedArticle
                _check_root(root)
                for record in _records(element, position, options):
                    position = record.position
                    yield record
                _forget(element)
            _check_root(parser.root)
        except etree.XMLSyntaxError as error:
            raise ShardError(
                f"the XML breaks off or is not well-formed after record {position} ({' '.join(str(error).split())}); "
                "fetch the file again and compare its .md5"
            ) from error


def _year_of(digits: int) -> int:
    return (1900 if digits >= _FIRST_YEAR else 2000) + digits


def _check_root(root: etree._Element) -> None:
    if root.tag not in _ROOTS:
        raise WrongFormatError(f"expected XML of {' or '.join(_ROOTS)}, got {root.tag!s}")


def _forget(element: etree._Element) -> None:
    """Free a record and everything before it, so that only one record is in memory at a time."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _records(element: etree._Element, position: int, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
    if element.tag in _DELETIONS:
        for pmid in element.iterchildren("PMID"):
            position += 1
            yield _record(pmid, None, position, options)
        return
    if element.tag == "MedlineCitation":
        citation: etree._Element | None = element
    else:
        citation = element.find("MedlineCitation" if element.tag == "PubmedArticle" else "BookDocument")
    pmid_element = None if citation is None else citation.find("PMID")
    if citation is None or pmid_element is None:
        missing = "PMID" if citation is not None else "citation"
        yield MalformedRecord(position=position + 1, detail=f"a {element.tag!s} without a {missing}")
    else:
        yield _record(pmid_element, citation, position + 1, options)


def _record(
    pmid: etree._Element, citation: etree._Element | None, position: int, options: ReadOptions
) -> PaperRecord | MalformedRecord:
    """Make a paper from a citation, or a tombstone from a PMID without a citation."""
    paper_id, version = (pmid.text or "").strip(), pmid.get("Version", "1").strip()
    if not _is_number(paper_id):
        return MalformedRecord(position=position, detail=f"a PMID is a whole number, got {paper_id[:40]!r}")
    if not _is_number(version):
        return MalformedRecord(
            position=position, detail=f"a PMID's Version is a whole number, got {version[:40]!r}", paper_id=paper_id
        )
    if citation is None:
        return PaperRecord(
            paper_id=paper_id, title=None, abstract=None, position=position, deleted=True, version=int(version)
        )
    article = citation if citation.tag == "BookDocument" else citation.find("Article")
    if article is None:
        return MalformedRecord(position=position, detail="a citation without an Article", paper_id=paper_id)
    return PaperRecord(
        paper_id=paper_id,
        title=_title(article),
        abstract=_abstract(article.find("Abstract")),
        label=mesh_class(_headings(citation)) if options.label == "mesh" else None,
        year=_year(article, citation.getparent()),
        position=position,
        version=int(version),
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _title(article: etree._Element) -> str | None:
    for path in ("ArticleTitle", "VernacularTitle", "Book/BookTitle"):
        element = article.find(path)
        title = None if element is None else _unwrapped(element_text(element) or "")
        if title and title.rstrip(".").casefold() not in _NO_TITLE:
            return title
    return None


def _unwrapped(title: str) -> str:
    """Return "[Title]." as "Title."; brackets around only a part of the title are kept ("[18F]FDG in rats [a]")."""
    body = title.removesuffix(".").rstrip()
    if not (body.startswith("[") and body.endswith("]")):
        return title
    depth = 0
    for place, character in enumerate(body):
        depth += (character == "[") - (character == "]")
        if depth == 0 and place < len(body) - 1:
            return title
    inner = body[1:-1].strip()
    return inner if depth or not inner or inner[-1] in ".?!" else f"{inner}."


def _abstract(abstract: etree._Element | None) -> str | None:
    """Join the parts of the abstract; the separate element OtherAbstract (other languages, lay text) is not read."""
    if abstract is None:
        return None
    parts: list[str] = []
    for element in abstract.iterchildren("AbstractText"):
        text, label = element_text(element), (element.get("Label") or "").strip(" :")
        if text:
            parts.append(f"{label}: {text}" if label and label.upper() not in _EMPTY_LABELS else text)
    return " ".join(parts) or None


def _year(article: etree._Element, record: etree._Element | None) -> int | None:
    """Return the year of the first date that has one; MedlineDate is free text such as "2003 Jan-Feb"."""
    dates = [date for path in _DATES for date in article.iterfind(path)]
    dates += record.iterfind(_HISTORY) if record is not None else ()
    for date in dates:
        for text in (date.findtext("Year"), date.findtext("MedlineDate")):
            if year := _YEAR.search(text or ""):
                return int(year[0])
    return None


def _headings(citation: etree._Element) -> Iterator[MeshHeading]:
    for heading in citation.iterfind("MeshHeadingList/MeshHeading"):
        descriptor = heading.findtext("DescriptorName")
        if descriptor:
            yield MeshHeading(
                descriptor=" ".join(descriptor.split()),
                major=any(name.get("MajorTopicYN") == "Y" for name in heading),
            )
