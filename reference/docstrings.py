"""Docstrings as text: those below the fields of dataclasses too, which Python forgets."""

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from itertools import pairwise


def attribute_docs(kind: type) -> Mapping[str, str]:
    """Field -> the string below it in the source, of `kind` and what it inherits from."""
    found = dict[str, str]()
    for base in reversed(kind.__mro__[:-1]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for one, after in pairwise(body):
            if not (isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[one.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def plain_text(document: str) -> str:
    """`document` in one line a paragraph, its literals in single backticks.

    >>> plain_text("One ``two``\\nthree.\\n\\nFour.")
    'One `two` three.\\nFour.'
    """
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(document))
    return "\n".join(" ".join(p.split()) for p in paragraphs if p.strip()).replace("``", "`")


def first_paragraph(document: str) -> str:
    """What stands before the first empty line."""
    return re.split(r"\n\s*\n", inspect.cleandoc(document))[0]
