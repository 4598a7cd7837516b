"""Split a large file, such as the wheel of onnxruntime-gpu, into parts that can be copied one by one; join them again.

Usage: python carry.py split FILE FOLDER [--mib 60]
       python carry.py join FOLDER [OUT]

`split` writes FILE.part000, FILE.part001, ... and FILE.parts.json with the SHA-256 of each part and of the whole.
`join` checks every part and the whole, and writes the file into OUT (default: FOLDER). It needs Python only.
"""

import argparse
import hashlib
import json
from pathlib import Path

MIB = 1 << 20
INDEX_SUFFIX = ".parts.json"


def split(file: Path, folder: Path, *, mib: int) -> list[Path]:
    """Write the parts of a file and their index.

    Args:
        file: The file to split.
        folder: Folder for the parts. It is created if it does not exist.
        mib: Size of a part in MiB; the last part may be smaller.

    Returns:
        The parts, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = hashlib.sha256()
    parts: list[dict[str, str]] = []
    with file.open("rb") as stream:
        while piece := stream.read(mib * MIB):
            whole.update(piece)
            name = f"{file.name}.part{len(parts):03}"
            (folder / name).write_bytes(piece)
            parts.append({"name": name, "sha256": hashlib.sha256(piece).hexdigest()})
    index = {"file": file.name, "sha256": whole.hexdigest(), "parts": parts}
    (folder / f"{file.name}{INDEX_SUFFIX}").write_text(json.dumps(index, indent=1) + "\n")
    return [folder / part["name"] for part in parts]


def join(folder: Path, out: Path | None = None) -> list[Path]:
    """Join every file that `split` has left in a folder.

    Returns:
        The joined files.

    Raises:
        SystemExit: A part is missing or damaged; the message names it.
    """
    out = out or folder
    out.mkdir(parents=True, exist_ok=True)
    joined: list[Path] = []
    for index_file in sorted(folder.glob(f"*{INDEX_SUFFIX}")):
        index = json.loads(index_file.read_text())
        target = out / Path(index["file"]).name
        whole = hashlib.sha256()
        with target.open("wb") as stream:
            for part in index["parts"]:
                path = folder / Path(part["name"]).name
                if not path.is_file():
                    raise SystemExit(f"{path}: this part is missing; copy it again")
                piece = path.read_bytes()
                if hashlib.sha256(piece).hexdigest() != part["sha256"]:
                    raise SystemExit(f"{path}: this part is damaged; copy it again")
                whole.update(piece)
                stream.write(piece)
        if whole.hexdigest() != index["sha256"]:
            raise SystemExit(f"{target}: the joined file is damaged; split the original again")
        joined.append(target)
    return joined


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    splitting = commands.add_parser("split")
    splitting.add_argument("file", type=Path)
    splitting.add_argument("folder", type=Path)
    splitting.add_argument("--mib", type=int, default=60, help="Size of a part in MiB. Default: 60.")
    joining = commands.add_parser("join")
    joining.add_argument("folder", type=Path)
    joining.add_argument("out", type=Path, nargs="?")
    args = parser.parse_args()
    found = split(args.file, args.folder, mib=args.mib) if args.command == "split" else join(args.folder, args.out)
    print(*found, sep="\n")


if __name__ == "__main__":
    main()
