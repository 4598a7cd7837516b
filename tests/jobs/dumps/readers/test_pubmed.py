import io
import time
from collections.abc import Iterator

import pytest

from specter_batch.errors import PaperSchemaError, ShardError
from specter_batch.papers.labels import MESH
from specter_jobs.dumps.readers.mesh_headings import MeshHeading, classes_of, mesh_class
from specter_jobs.dumps.readers.pubmed import PubmedReader
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions
from support.dumps.on_disk import StreamOfParts

HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January '
    '2025//EN" "https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">\n'
)


def citation(
    pmid: str = "1",
    *,
    title: str = "<ArticleTitle>A title.</ArticleTitle>",
    abstract: str = "<Abstract><AbstractText>A text.</AbstractText></Abstract>",
    date: str = "<Year>2020</Year><Month>Jan</Month>",
    version: str = ' Version="1"',
    after_article: str = "",
    in_article: str = "",
    history: str = "",
) -> str:
    return (
        f'<PubmedArticle><MedlineCitation Status="MEDLINE"><PMID{version}>{pmid}</PMID><DateRevised><Year>1999</Year>'
        f"</DateRevised><Article><Journal><JournalIssue><PubDate>{date}</PubDate></JournalIssue><Title>J</Title></Journal>"
        f"{title}{abstract}{in_article}</Article>{after_article}<CommentsCorrectionsList><CommentsCorrections>"
        f'<PMID Version="1">999</PMID></CommentsCorrections></CommentsCorrectionsList></MedlineCitation><PubmedData>'
        f"<History>{history}</History></PubmedData></PubmedArticle>"
    )


def article_set(*records: str) -> str:
    return f"{HEAD}<PubmedArticleSet>{''.join(records)}</PubmedArticleSet>"


def read(xml: str, label: str | None = None) -> list[PaperRecord | MalformedRecord]:
    return list(PubmedReader().read(io.BytesIO(xml.encode()), ReadOptions(label=label)))


def paper(*args: str, label: str | None = None, **parts: str) -> PaperRecord:
    (record,) = read(article_set(citation(*args, **parts)), label)
    assert isinstance(record, PaperRecord)
    return record


def mesh(*headings: tuple[str, str]) -> str:
    listed = "".join(
        f'<MeshHeading><DescriptorName UI="D1" MajorTopicYN="{major}">{name}</DescriptorName>'
        f'<QualifierName UI="Q1" MajorTopicYN="N">therapy</QualifierName></MeshHeading>'
        for name, major in headings
    )
    return f"<MeshHeadingList>{listed}</MeshHeadingList>"


def test_a_citation_becomes_a_paper() -> None:
    assert paper("31452104", version=' Version="2"') == PaperRecord(
        paper_id="31452104", title="A title.", abstract="A text.", year=2020, position=1, version=2
    )


def test_labelled_parts_of_an_abstract_are_joined_with_their_labels() -> None:
    abstract = """<Abstract><AbstractText Label="BACKGROUND" NlmCategory="BACKGROUND">Why.</AbstractText>
        <AbstractText Label="Methods:" NlmCategory="UNASSIGNED">How.</AbstractText><AbstractText Label="EMPTY"/>
        <AbstractText Label="UNLABELLED">Bare.</AbstractText><AbstractText>Last.</AbstractText>
        <CopyrightInformation>Copyright of somebody.</CopyrightInformation></Abstract>"""
    assert paper(abstract=abstract).abstract == "BACKGROUND: Why. Methods: How. Bare. Last."


def test_an_abstract_in_another_language_or_in_plain_words_is_not_the_abstract() -> None:
    other = '<OtherAbstract Type="Publisher" Language="fre"><AbstractText>En bref.</AbstractText></OtherAbstract>'
    assert paper(abstract="", after_article=other).abstract is None
    assert paper(after_article=other).abstract == "A text."


def test_inline_mark_up_and_entities_become_plain_text() -> None:
    title = "<i>In vitro</i> CO<sub>2</sub> &amp; Ca<sup>2+</sup>: a\n  <b>b</b>old &#x3b1; &lt; 5."
    math = '<mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML">\n <mml:mi>x</mml:mi>\n</mml:math>'
    found = paper(
        title=f"<ArticleTitle>{title}</ArticleTitle>",
        abstract=f"<Abstract><AbstractText>Of {math}-rays.</AbstractText></Abstract>",
    )
    assert (found.title, found.abstract) == ("In vitro CO2 & Ca2+: a bold α < 5.", "Of x-rays.")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("[On translated titles].", "On translated titles."),
        ("[On translated titles]", "On translated titles."),
        ("[Is it translated?].", "Is it translated?"),
        ("[Uptake of [18F]FDG in rats].", "Uptake of [18F]FDG in rats."),
        ("[18F]FDG in rats [a review].", "[18F]FDG in rats [a review]."),
        ("A [partly] bracketed title.", "A [partly] bracketed title."),
        ("[<i>Culex</i> in Paris].", "Culex in Paris."),
    ],
)
def test_titles_in_brackets_are_unwrapped_when_the_brackets_hold_all_of_it(title: str, expected: str) -> None:
    assert paper(title=f"<ArticleTitle>{title}</ArticleTitle>").title == expected


@pytest.mark.parametrize("title", ["<ArticleTitle>[Not Available].</ArticleTitle>", "<ArticleTitle/>", ""])
def test_the_vernacular_title_stands_in_where_there_is_no_english_one(title: str) -> None:
    vernacular = "<VernacularTitle>Über Titel.</VernacularTitle>"
    assert paper(title=title, in_article=vernacular).title == "Über Titel."
    assert paper(title=title).title is None
    assert paper(in_article=vernacular).title == "A title."


@pytest.mark.parametrize(
    ("date", "year"),
    [
        ("<Year>2003</Year>", 2003),
        ("<MedlineDate>2003 Jan-Feb</MedlineDate>", 2003),
        ("<MedlineDate>1998 Dec-1999 Jan</MedlineDate>", 1998),
        ("<MedlineDate>Fall 2001</MedlineDate>", 2001),
        ("<MedlineDate>no year</MedlineDate>", None),
        ("", None),
    ],
)
def test_the_year_is_found_in_every_form_of_the_journal_date(date: str, year: int | None) -> None:
    assert paper(date=date).year == year


def test_without_a_journal_date_the_online_date_counts_and_then_the_history() -> None:
    online = '<ArticleDate DateType="Electronic"><Year>2011</Year></ArticleDate>'
    history = '<PubMedPubDate PubStatus="pubmed"><Year>2012</Year></PubMedPubDate>'
    assert paper(date="", in_article=online, history=history).year == 2011
    assert paper(date="", history=history).year == 2012


def test_deleted_citations_become_tombstones() -> None:
    deletions = '<DeleteCitation><PMID Version="1">7</PMID><PMID Version="3">8</PMID></DeleteCitation>'
    records = read(article_set(citation("6"), deletions))
    assert [(r.paper_id, r.position) for r in records] == [("6", 1), ("7", 2), ("8", 3)]
    assert records[2] == PaperRecord(paper_id="8", title=None, abstract=None, position=3, deleted=True, version=3)


@pytest.mark.parametrize(
    ("broken", "detail", "paper_id"),
    [
        ("<PubmedArticle/>", "a PubmedArticle without a citation", None),
        ("<PubmedArticle><MedlineCitation/></PubmedArticle>", "a PubmedArticle without a PMID", None),
        (citation("PMC12"), "a PMID is a whole number, got 'PMC12'", None),
        (citation("5", version=' Version="x"'), "a PMID's Version is a whole number, got 'x'", "5"),
        (
            "<PubmedArticle><MedlineCitation><PMID>5</PMID></MedlineCitation></PubmedArticle>",
            "a citation without an Article",
            "5",
        ),
    ],
)
def test_a_malformed_citation_costs_only_itself(broken: str, detail: str, paper_id: str | None) -> None:
    records = read(article_set(citation("1"), broken, citation("2")))
    assert [r.paper_id for r in records] == ["1", paper_id, "2"]
    assert records[1] == MalformedRecord(position=2, detail=detail, paper_id=paper_id)


def test_a_file_that_breaks_off_fails_after_giving_what_it_has() -> None:
    xml = article_set(*(citation(str(n)) for n in range(1, 4)))
    found: list[str | None] = []
    with pytest.raises(ShardError, match="breaks off or is not well-formed after record 2") as caught:
        for record in PubmedReader().read(
            io.BytesIO(xml[: xml.rindex("<PubmedArticle>") + 60].encode()), ReadOptions()
        ):
            found.append(record.paper_id)  # noqa: PERF401 - the list is wanted although the loop breaks
    assert found == ["1", "2"]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "no xml at all", "<PubmedArticleSet><PubmedArticle></PubmedArticleSet>"])
def test_what_is_no_xml_is_a_failed_file(text: str) -> None:
    with pytest.raises(ShardError):
        read(text)


@pytest.mark.parametrize("text", ["<article/>", f"<other>{citation('1')}</other>"])
def test_xml_of_another_kind_is_refused_by_name(text: str) -> None:
    with pytest.raises(PaperSchemaError, match="expected XML of PubmedArticleSet"):
        read(text)


def test_an_empty_set_is_an_empty_file() -> None:
    assert read(article_set()) == []


def test_books_and_the_older_layout_are_read_too() -> None:
    book = """<PubmedBookArticle><BookDocument><PMID Version="1">20301295</PMID><Book><BookTitle>A book</BookTitle>
        <PubDate><Year>1993</Year></PubDate></Book><ArticleTitle>A chapter</ArticleTitle>
        <Abstract><AbstractText>Text.</AbstractText></Abstract></BookDocument></PubmedBookArticle>"""
    assert read(article_set(book)) == [
        PaperRecord(paper_id="20301295", title="A chapter", abstract="Text.", year=1993, position=1, version=1)
    ]
    inner = citation("4").split("<PubmedData>")[0].removeprefix("<PubmedArticle>")
    (record,) = read(f"<MedlineCitationSet>{inner}</MedlineCitationSet>")
    assert (record.paper_id, record.position) == ("4", 1)


def laughs(levels: int, record: str) -> str:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, levels + 1))
    return f'<!DOCTYPE PubmedArticleSet [<!ENTITY l0 "ha">{entities}]><PubmedArticleSet>{record}</PubmedArticleSet>'


def test_entities_that_a_file_declares_are_not_expanded() -> None:
    (record,) = read(laughs(2, citation("1", title="<ArticleTitle>A &l2; title.</ArticleTitle>")))
    assert isinstance(record, PaperRecord)
    assert record.title == "A &l2; title."


@pytest.mark.parametrize(
    "record", [citation("1", title="<ArticleTitle>A &l9;.</ArticleTitle>"), citation("1", version=' Version="&l9;"')]
)
def test_a_billion_laughs_fail_the_file_or_do_nothing(record: str) -> None:
    began = time.monotonic()
    try:
        records = read(laughs(9, record))
    except ShardError as error:
        assert len(str(error)) < 500
    else:  # older parsers never look into an entity that is not to be expanded
        assert len(str(records)) < 1_000
    assert time.monotonic() - began < 5


def test_an_external_entity_is_neither_read_nor_fetched(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("outside") / "secret.txt"
    secret.write_text("a secret")
    for where in (secret.as_uri(), "http://127.0.0.1:9/secret"):
        xml = f'<!DOCTYPE PubmedArticleSet SYSTEM "{where}" [<!ENTITY x SYSTEM "{where}">]><PubmedArticleSet>'
        xml += citation("1", title="<ArticleTitle>A &x; title.</ArticleTitle>") + "</PubmedArticleSet>"
        (record,) = read(xml)
        assert isinstance(record, PaperRecord)
        assert record.title == "A &x; title."


def test_html_entities_of_a_dtd_that_is_not_loaded_are_known_all_the_same() -> None:
    assert paper(title="<ArticleTitle>The &alpha;&#8211;&beta; ratio.</ArticleTitle>").title == "The α–β ratio."


def citations(n_citations: int) -> Iterator[bytes]:
    """Yield a set of citations, part by part."""
    yield (HEAD + "<PubmedArticleSet>").encode()
    references = "<ReferenceList>" + "<Reference><Citation>x</Citation></Reference>" * 100 + "</ReferenceList>"
    for number in range(n_citations):
        yield citation(str(number + 1), history=references).encode()
    yield b"</PubmedArticleSet>"


def test_memory_stays_that_of_one_citation() -> None:
    resource = pytest.importorskip("resource", reason="peak memory is only known on Unix")

    def peak_growth(n_citations: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        stream = io.BufferedReader(StreamOfParts(citations(n_citations)))
        assert sum(1 for _ in PubmedReader().read(stream, ReadOptions())) == n_citations
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

    peak_growth(50)
    assert peak_growth(4_000) < 16 << 10  # kB; the trees of 4,000 citations take about 300 MB


def test_mesh_headings_of_one_class_give_its_label_on_request_only() -> None:
    listed = mesh(("Humans", "N"), ("Diabetes Mellitus, Type 2", "Y"), ("Insulin", "N"))
    assert paper(after_article=listed, label="mesh").label == "Diabetes mellitus"
    assert paper(after_article=listed).label is None
    assert paper(label="mesh").label is None


def test_a_major_qualifier_makes_its_heading_a_major_topic() -> None:
    listed = mesh(("Asthma", "N"), ("Pilots", "Y"))
    assert paper(after_article=listed, label="mesh").label is None
    major = listed.replace('<QualifierName UI="Q1" MajorTopicYN="N">', '<QualifierName UI="Q1" MajorTopicYN="Y">', 1)
    assert paper(after_article=major, label="mesh").label == "Chronic respiratory diseases"


@pytest.mark.parametrize(
    ("headings", "label"),
    [
        ([("Myocardial Infarction", True)], "Cardiovascular diseases"),
        ([("Kidney Failure, Chronic", True)], "Chronic kidney disease"),
        ([("Hepatitis C, Chronic", True)], "Hepatitis A/B/C/E"),
        ([("HIV Infections", True), ("HIV-1", False)], "HIV/AIDS"),
        ([("Lung Neoplasms", True), ("Carcinoma, Non-Small-Cell Lung", True)], "Neoplasms (cancer)"),
        ([("Leukemia, Myeloid, Acute", True)], "Neoplasms (cancer)"),
        ([("Leukemia Inhibitory Factor", True)], None),
        ([("Hepatitis D", True)], None),
        ([("Stroke", True)], None),
        ([("Alzheimer Disease", True)], None),
        ([("Diabetic Nephropathies", True), ("Diabetes Mellitus", True)], None),
        ([("Asthma", True), ("Obesity", True)], "Chronic respiratory diseases"),
        ([("Asthma", True), ("Schizophrenia", False)], None),
        ([("Asthma", False), ("Humans", False)], "Chronic respiratory diseases"),
        ([("Humans", True)], None),
        ([], None),
    ],
)
def test_a_class_is_given_only_where_the_headings_leave_no_doubt(
    headings: list[tuple[str, bool]], label: str | None
) -> None:
    assert mesh_class(MeshHeading(*heading) for heading in headings) == label


def test_every_class_can_be_reached_and_none_other() -> None:
    names = ["Hypertension", "Renal Insufficiency, Chronic", "Asthma", "Diabetes Mellitus", "Crohn Disease"]
    names += ["HIV Infections", "Hepatitis B", "Schizophrenia", "Osteoporosis", "Neoplasms", "Epilepsy"]
    assert {label for name in names for label in classes_of(name)} == set(MESH)
    assert all(len(classes_of(name)) == 1 for name in names)
