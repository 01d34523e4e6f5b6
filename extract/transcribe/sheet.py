"""A table of clips that is filled in place: everything else in it stays as it was written."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...cache.store.atomic_write import replace
from ...errors import ManifestError
from ..corpora.csv_table import understood
from ..corpora.reading.csv_rows import decoded, delimiter, rows
from ..corpora.reading.table import Row, Table

OURS = ("text", "text_source", "word_times")


@dataclass
class Sheet:
    """The cells of a table, by line and column."""

    path: Path
    head: list[str]
    lines: list[tuple[int, list[str]]]
    names: Mapping[str, int]
    """Our name of a column -> where it stands."""
    _mark: str
    _bom: bool
    _last: bytes

    @classmethod
    def read(cls, path: Path) -> "Sheet":
        """The table at `path`, with the columns `OURS` behind the others where it lacks them.

        Raises ManifestError with every fault and its line.
        """
        try:
            data = path.read_bytes()
            text = decoded(data, ("utf-8",))
        except OSError as fault:
            raise ManifestError(f"{path}: cannot be read: {fault.strerror or fault}.") from None
        except UnicodeDecodeError:
            raise ManifestError(f"{path}: not UTF-8 text. Save it as CSV UTF-8.") from None
        table, mark = Table(path), delimiter(text)
        table_rows = list(rows(text, mark, table.fault, lambda cells: False))
        head = [name.strip() for name in table_rows[0][1]] if table_rows else []
        lines = [(n, cells) for n, cells in table_rows[1:] if any(cell.strip() for cell in cells)]
        for number, cells in lines:
            if len(cells) != len(head):
                table.fault(number, f"{len(cells)} cells where the head line has {len(head)}.")
        ours = understood(head)
        names = {ours.get(column, column): k for k, column in enumerate(head)}
        if "media" not in names:
            table.fault(1, f"no column 'media' among {', '.join(head)}: no files to listen to.")
        table.stop()
        for column in OURS:
            if column not in names:
                names[column] = len(head)
                head.append(column)
                for _, cells in lines:
                    cells.append("")
        return cls(path, head, lines, names, mark, data.startswith(b"\xef\xbb\xbf"), data)

    def row(self, number: int, table: Table) -> Row:
        """One line with our names of its columns."""
        line, cells = self.lines[number]
        return Row(line, {name: cells[k].strip() for name, k in self.names.items()}, table)

    def set(self, number: int, cells: Mapping[str, str]) -> None:
        """Write into the cells of one line."""
        for column, value in cells.items():
            self.lines[number][1][self.names[column]] = value

    def save(self) -> None:
        """Write the table in its place; raises ManifestError if somebody else has meanwhile."""
        try:
            same = self.path.read_bytes() == self._last
        except OSError:
            same = False
        if not same:
            raise ManifestError(
                f"{self.path}: was changed by somebody else meanwhile, and is left as it is now. "
                "Start again: what stands in it already is not transcribed twice."
            )
        data = table_bytes(self.head, [cells for _, cells in self.lines], self._mark)
        data = ("\ufeff" if self._bom else "").encode() + data
        replace(self.path, data)
        self._last = data


def table_bytes(head: Sequence[str], lines: Sequence[Sequence[str]], mark: str = ",") -> bytes:
    """A separated table as UTF-8."""
    out = io.StringIO()
    csv.writer(out, delimiter=mark, lineterminator="\n").writerows([head, *lines])
    return out.getvalue().encode()
