"""SUGRM: self-supervised unimodal label generation."""
