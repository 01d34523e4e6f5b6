"""How a result shows itself: a few lines as text, a table in a notebook, a frame of pandas."""

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import SedimentalError
from .escape import for_terminal

if TYPE_CHECKING:
    import pandas

LINES = 7
"""Rows that `repr` shows."""
ROWS = 100
"""Rows that a notebook shows."""
WIDEST = 40
"""Letters of a cell of `repr`."""


class ResultTable:
    """Base of results that are a table: they say their `title` and the `records` of their rows."""

    @property
    def title(self) -> str:
        """What it is, in a line."""
        raise NotImplementedError

    def records(self) -> Sequence[Mapping[str, Any]]:
        """A row each, as column -> plain value."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """The title and the first rows."""
        rows = self.records()
        lines = [self.title, *_columns(rows[:LINES])]
        if len(rows) > LINES:
            lines.append(f"… and {len(rows) - LINES} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table, as notebooks draw it."""
        rows = self.records()
        heads = list(dict.fromkeys(key for row in rows for key in row))
        more = f"<p>… and {len(rows) - ROWS} more</p>" if len(rows) > ROWS else ""
        body = "".join(
            f"<tr>{''.join(f'<td>{_html(_text(row.get(key)))}</td>' for key in heads)}</tr>"
            for row in rows[:ROWS]
        )
        head = "".join(f"<th>{_html(key)}</th>" for key in heads)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<p>{_html(self.title)}</p>{table if rows else ''}{more}"

    def to_frame(self) -> "pandas.DataFrame":
        """The rows as a DataFrame; raises SedimentalError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise SedimentalError("to_frame needs pandas: `pip install pandas`.") from None
        return pandas.DataFrame.from_records([dict(row) for row in self.records()])


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return for_terminal(str(value))


def _html(text: str) -> str:
    return html.escape(text)


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    heads = list(dict.fromkeys(key for row in rows for key in row))
    cells = [heads, *([_text(row.get(key))[:WIDEST] for key in heads] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(heads))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells)
    return [line.rstrip() for line in lines] if rows else []
