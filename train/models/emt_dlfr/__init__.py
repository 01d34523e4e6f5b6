"""EMT-DLFR: efficient multimodal transformer with dual-level feature restoration."""
