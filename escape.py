"""Text that others wrote (clip ids, file and class names, reasons), made to be no more than text.

A terminal, a figure, a page, a table in Markdown or LaTeX and a spreadsheet each read something
into some characters. What goes there passes through the function of that name; HTML is escaped by
its template, and figures are drawn without mathematics.
"""

import re
import unicodedata

_JOINERS = "\u200c\u200d"
"""Persian is spelled with them, and emoji are put together."""
_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control, format (direction), surrogate, line end, paragraph end."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_MARKDOWN = re.compile(r"([\\`*{}\[\]<>|#~$&]|(?<![^\W_])_|_(?![^\W_]))")
"""Within a word an underscore is one."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
} | {mark: f"\\{mark}" for mark in "&%$#_{}"}


def for_terminal(text: str, keep: str = "") -> str:
    r"""`text` with every character that steers a terminal written out; those in `keep` stay.

    Escape sequences, line ends, changes of direction, and characters without a shape.

    >>> for_terminal("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    return "".join(
        c if c in keep or not _steers(c) else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def for_markdown(text: str) -> str:
    r"""`text` for a cell of a Markdown table.

    >>> for_markdown("a_b|<b>_c_")
    'a_b\\|\\<b\\>\\_c\\_'
    """
    return _MARKDOWN.sub(r"\\\1", for_terminal(text))


def for_latex(text: str) -> str:
    r"""`text` for LaTeX.

    >>> for_latex("50% of \\cmd_1")
    '50\\% of \\textbackslash{}cmd\\_1'
    """
    return "".join(_LATEX.get(c, c) for c in for_terminal(text))


def for_csv(text: str) -> str:
    """`text` for a cell of CSV: a quote leads where a spreadsheet would see a formula.

    >>> for_csv("=1+1"), for_csv("-0.5"), for_csv("clip-1")
    ("'=1+1", '-0.5', 'clip-1')
    """
    if not text.startswith(_FORMULA) or _number(text):
        return text
    return f"'{text}"


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _steers(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _STEERING
