"""Rows of a separated table and the lines they begin on; what is broken is named and stepped over.

The csv module reads a quote that is never closed to the end of the file, and takes twenty rows for
the text of one cell. Here a broken row ends with its line, so that all faults are found at once.
"""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence

Complain = Callable[[int, str], None]
"""Is told the line and what is wrong with it."""
MARKS = ",;\t"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE_END = re.compile(r"\r\n|\n|\r")
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')


def decoded(data: bytes, encodings: Sequence[str]) -> str:
    """`data` as text: as its BOM says, else in the first of `encodings` that fits.

    Raises UnicodeDecodeError if none does.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data.decode(encoding).removeprefix("\ufeff")
    for encoding in encodings[:-1]:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode(encodings[-1])


def delimiter(text: str) -> str:
    """Comma, semicolon or tab: what the head line has most of, outside quotes."""
    head = _QUOTED.sub("", _LINE_END.split(text, maxsplit=1)[0])
    return max(MARKS, key=head.count)


def rows(
    text: str, mark: str, complain: Complain, is_row: Callable[[list[str]], bool]
) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every sound row of `text`, quoted as RFC 4180 has it.

    `is_row` says whether cells look like a row of this table: a quoted cell that takes in such a
    line is a quote that was not closed.
    """
    position, line = 0, 1
    plain = re.compile(rf"[^{re.escape(mark)}\r\n]*")
    while position < len(text):
        cells, begin, first, fault = [], position, line, ""
        while True:
            if text.startswith('"', position):
                cell = _QUOTED.match(text, position)
                behind = text[cell.end() : cell.end() + 1] if cell else ""
                spans = len(_LINE_END.findall(cell[1])) if cell else 0
                loose = behind not in ("", mark, "\r", "\n")
                if cell is None or (spans and (loose or _swallows(cell[1], mark, is_row))):
                    fault = "a quote opens here and is not closed"
                    break
                if loose:
                    fault = "something stands behind the quote that closes a cell"
                    break
                cells.append(cell[1].replace('""', '"'))
                position, line = cell.end(), line + spans
            else:
                cell = plain.match(text, position)
                assert cell is not None
                cells.append(cell[0])
                position = cell.end()
            if not text.startswith(mark, position):
                break
            position += 1
        if fault:  # go on behind the line that the row begins on
            complain(first, f'{fault}; a quote within a quoted text is written twice ("").')
            position, line = begin, first
        end = _LINE_END.search(text, position)
        position, line = (end.end(), line + 1) if end else (len(text), line)
        if not fault:
            yield first, cells


def _swallows(inside: str, mark: str, is_row: Callable[[list[str]], bool]) -> bool:
    """Whether a quoted cell holds a line that looks like a row of its own."""
    lines = _LINE_END.split(inside)[1:]
    return any(is_row([c.strip('" ') for c in line.split(mark)]) for line in lines)
