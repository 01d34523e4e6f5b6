"""Whether the Hub answers: asked once and quickly, so that without a network nobody waits."""

import threading
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

PATIENCE = 4.0
"""Seconds that the Hub has; its client would try for most of a minute, at every file."""


def hub_answers() -> bool:
    """Whether anything can be downloaded; False also where HF_HUB_OFFLINE says so."""
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT)


def commit_of(source: str, revision: str | None) -> str | None:
    """The commit that `revision` (``main``) of a repository was, when its config came here."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(source, "config.json", revision=revision or "main")
    return Path(file).parent.name if isinstance(file, str) else None


@cache
def _answers(endpoint: str) -> bool:
    heard = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(endpoint, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # it answers
        except urllib.error.URLError as fault:
            if "certificate" not in str(fault).lower():  # what it thinks of that is the client's
                return
        except (OSError, ValueError):
            return
        heard.set()

    asking = threading.Thread(target=ask, daemon=True)  # a name server may take its time
    asking.start()
    asking.join(PATIENCE)
    return heard.is_set()
