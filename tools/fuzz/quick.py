"""The slice that the tests run: every file that was ever found, then a few mutations a reader.

`python -m fuzz.quick CASES`: always the same ones, all in this process; 1 if anything is found.
"""

import random
import shutil
import sys
import tempfile
from pathlib import Path

from .child import check, mutated_case, new_tally
from .findings import KINDS, WORDS
from .readers import READERS, Reader

FOUND = Path(__file__).parent.parent.parent / "tests" / "fuzz" / "found"


def main() -> int:
    """Run, and print what is found."""
    status = 0
    for name, reader in READERS.items():
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            work = Path(folder)
            (work / "good").mkdir()
            reader.seed(work / "good")
            reader.read(work / "good")
            for found in sorted((FOUND / name).glob("*")):
                _again(reader, work, found)
            tally = new_tally()
            for _ in range(int(sys.argv[1])):
                mutated_case(reader, work, random.Random(f"{name}{tally['cases']}"), tally)
            for one in sorted((work / KINDS).glob("*")):
                print(name, (one / WORDS).read_text(encoding="utf-8"))
                status = 1
    return status


def _again(reader: Reader, work: Path, found: Path) -> None:
    """Read what was found once, among the files that were good."""
    case = work / "case"
    shutil.rmtree(case, ignore_errors=True)
    if reader.alone:
        case.mkdir()
    else:
        shutil.copytree(work / "good", case)
    (file,) = (p for p in found.rglob("*") if p.is_file() and p.name != WORDS)
    relative = file.relative_to(found)
    (case / relative).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, case / relative)
    (work / "file").write_text(str(relative))
    check(reader, work, case, case / relative, new_tally())


if __name__ == "__main__":
    sys.exit(main())
