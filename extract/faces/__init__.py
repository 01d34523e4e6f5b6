"""Faces: the detector, and the one face a clip's track follows."""
