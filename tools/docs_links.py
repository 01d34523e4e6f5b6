"""For the documentation site: links to files of the repository, which are no pages of it.

They become links into the repository where mkdocs.yml names one (`repo_url`), else plain text.
"""

import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^]\n]*)\]\(\.\./([^)\s]+)\)")


def on_page_markdown(markdown: str, *, config: Any, **_: Any) -> str:
    """The page with such links replaced; mkdocs calls it."""
    root = config.repo_url

    def turned(found: re.Match[str]) -> str:
        return f"[{found[1]}]({root.rstrip('/')}/blob/main/{found[2]})" if root else found[1]

    return LINK.sub(turned, markdown)
