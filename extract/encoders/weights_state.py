"""Whether an encoder's weights lie on this machine already."""

from ...cache.spec import FeatureSpec

FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


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
        for name in FILES
    )
    return "in the Hub cache" if any(here) else f"to be downloaded: {spec.source}"
