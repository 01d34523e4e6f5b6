"""The Hub: whether it answers, asked once and quickly, and what of it lies on this machine."""

import threading
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

from ...cache.spec import FeatureSpec

PATIENCE = 4.0
"""Seconds that the Hub has; its client would try for most of a minute, at every file."""
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Names of the files that weights come in."""


def hub_answers() -> bool:
    """Whether anything can be downloaded; False also where HF_HUB_OFFLINE says so."""
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT)


def commit_of(source: str, revision: str | None) -> str | None:
    """The commit that `revision` (``main``) of a repository was, when its config came here."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(source, "config.json", revision=revision or "main")
    return Path(file).parent.name if isinstance(file, str) else None


def weights_state(spec: FeatureSpec) -> str:
    """Where the weights are, in a few words; asks the local Hub cache alone, never the network."""
    if spec.weights == "none":
        return "needs none"
    if spec.untrained:
        return f"untrained ({spec.weights})"
    if spec.weights == "folder":
        return f"folder {spec.source}"
    from huggingface_hub import try_to_load_from_cache

    here = (
        isinstance(try_to_load_from_cache(spec.source, name, revision=spec.revision), str)
        for name in WEIGHTS
    )
    return "in the Hub cache" if any(here) else f"to be downloaded: {spec.source}"


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
