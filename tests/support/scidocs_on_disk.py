"""A small folder in the layout of SciDocs, of synthetic papers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specter_batch.papers.labels import MAG, MESH
from specter_batch.training.demo.sample import make_papers
from support.papers_on_disk import GERMAN

N_PAPERS = 150
METADATA = "paper_metadata_mag_mesh.json"
FILES = (METADATA, *(f"{task}/{split}.csv" for task in ("mesh", "mag") for split in ("train", "val", "test")))


@dataclass(kw_only=True)
class Scidocs:
    """The content of the files; tests change it before they write it.

    Attributes:
        metadata: Papers by paper id.
        labels: Rows of paper id and class, by task and split.
    """

    metadata: dict[str, Any]
    labels: dict[str, dict[str, list[tuple[str, Any]]]]

    def write(self, folder: Path) -> Path:
        """Write the seven files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METADATA).write_text(json.dumps(self.metadata), encoding="utf-8")
        for task, splits in self.labels.items():
            (folder / task).mkdir(exist_ok=True)
            for split, rows in splits.items():
                lines = ["pid,class_label", *(f"{paper_id},{label}" for paper_id, label in rows)]
                (folder / task / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder


def make_scidocs() -> Scidocs:
    """Make clean papers p000 to p149.

    MeSH has p000 to p109 and MAG p090 to p144, so 20 papers are in both and the last 5 in neither. Every split of MeSH
    holds all classes; the rows of a split run backwards through the metadata.
    """
    papers = make_papers(n_papers=N_PAPERS).to_pylist()
    metadata = {
        f"p{number:03d}": {
            "paper_id": f"p{number:03d}",
            "title": paper["title"],
            "abstract": paper["abstract"],
            "year": 2010,
            "authors": ["1", "2"],
            "cited_by": [],
            "references": [f"p{number - 1:03d}"],
        }
        for number, paper in enumerate(papers)
    }
    mesh = [(f"p{number:03d}", MESH.id_of(papers[number]["label"])) for number in range(110)]
    mag = [(f"p{number:03d}", number % len(MAG)) for number in range(90, 145)]
    return Scidocs(
        metadata=metadata,
        labels={
            "mesh": {"train": mesh[69::-1], "val": mesh[89:69:-1], "test": mesh[:89:-1]},
            "mag": {"train": mag[34::-1], "val": mag[44:34:-1], "test": mag[:44:-1]},
        },
    )


def make_dirty_scidocs() -> Scidocs:
    """Make the same papers with seven of them unusable and one id that the metadata lack.

    p000 (MeSH train) has no title, and p001 (MeSH train) has a title of white space. p071 (MeSH val) and p149 (no task)
    have no abstract. p095 (MeSH test, MAG train) and p148 (no task) are German. p144 (MAG test) is not a paper. The id
    "gone" is in MAG test only.
    """
    scidocs = make_scidocs()
    papers = scidocs.metadata
    papers["p000"]["title"] = None
    papers["p001"]["title"] = " \n"
    papers["p071"]["abstract"] = None
    papers["p149"]["abstract"] = ""
    for name in ("p095", "p148"):
        papers[name] |= {"title": "Ergebnisse der Behandlung in einer großen Kohorte", "abstract": GERMAN}
    papers["p144"] = ["no", "paper"]
    scidocs.labels["mag"]["test"].append(("gone", 3))
    return scidocs
