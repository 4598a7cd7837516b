"""The model of `split.json`: what a split was made from, and how many papers are where. It only declares fields."""

from pydantic import BaseModel, ConfigDict

PARTS = ("train", "val", "test")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SplitSettings(_Frozen):
    """What decides which paper comes into which part, besides the papers.

    Attributes:
        val: Share of the papers to validate on.
        test: Share of the papers to test on.
        seed: Random seed.
        near_duplicates: Share of three-word sequences from which two texts stay together.
        group_columns: Columns whose values stay together.
        group_separator: Text between several groups in one value; None if a value is one group.
    """

    val: float = 0.1
    test: float = 0.2
    seed: int = 0
    near_duplicates: float = 0.6
    group_columns: tuple[str, ...] = ()
    group_separator: str | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Part -> share of the papers."""
        return {"train": 1 - self.val - self.test, "val": self.val, "test": self.test}


class PartFile(_Frozen):
    """One part.

    Attributes:
        share: Share of the papers that the part should have.
        papers: Number of papers in the part.
        sha256: SHA-256 of its parquet file; None if the part has a share of 0 and no file.
    """

    share: float
    papers: int
    sha256: str | None


class LabelCounts(_Frozen):
    """The papers of one label.

    Attributes:
        label: Name of the label.
        papers: Number of papers.
        train: Number of papers in the training part.
        val: Number of papers in the validation part.
        test: Number of papers in the test part.
    """

    label: str
    papers: int
    train: int
    val: int
    test: int


class Together(_Frozen):
    """The papers that stay together.

    Attributes:
        equal_texts: Number of papers whose text equals that of an earlier paper, without case and punctuation.
        near_equal_texts: Number of pairs of texts that are found to be nearly equal.
        without_group: Number of papers without a value in any group column; None without such columns.
        sets: Number of sets of papers that stay together; a paper on its own is a set, too.
        largest_set: Number of papers in the largest set.
    """

    equal_texts: int
    near_equal_texts: int
    without_group: int | None
    sets: int
    largest_set: int


class SplitAccount(_Frozen):
    """`split.json`.

    Attributes:
        papers: The input of labelled papers.
        inputs: Input file -> its SHA-256.
        settings: Settings of the split.
        columns: Column -> name given with an option such as `--label-column`; None if the name was found.
        parts: Part -> its share, its number of papers and its hash.
        labels: Number of papers by label and part, the most frequent label first.
        together: The papers that stay together.
        rows: Number of rows of the input.
        left_out: Reason -> number of rows that are in no part; `left_out.parquet` lists them.
        notes: Sentences that a user should read.
        version: Version of specter-batch.
    """

    papers: str
    inputs: dict[str, str]
    settings: SplitSettings
    columns: dict[str, str | None]
    parts: dict[str, PartFile]
    labels: tuple[LabelCounts, ...]
    together: Together
    rows: int
    left_out: dict[str, int]
    notes: tuple[str, ...]
    version: str
