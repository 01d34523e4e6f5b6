"""The detector on drawn faces, the rule that follows one, and what stands in for none."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sedimental.config import VisionFeatures
from sedimental.extract.corpora.demo import FOLDER
from sedimental.extract.faces import FaceFinder, crop, follow
from sedimental.extract.media import Frames, MediaError, read_media


@pytest.fixture(scope="module")
def portrait() -> Any:
    """One frame of the demo corpus."""
    frames = read_media(next(FOLDER.glob("Raw/*/0001.mp4")), fps=3.0, audio=False).frames
    assert frames is not None
    return frames.images[0]


def settings(**values: Any) -> VisionFeatures:
    return VisionFeatures(modality="vision", encoder="tiny-clip", **values)


def frames_of(*images: Any) -> Frames:
    return Frames(images, np.arange(len(images), dtype=np.float32) / 3)


def test_finds_the_face_and_crops_it(portrait: Any) -> None:
    faces = FaceFinder(settings(face_size=96), torch.device("cpu")).find(frames_of(portrait))
    assert faces.crops.shape == (1, 96, 96, 3)
    left, top, right, bottom = faces.boxes[0]
    height, width = portrait.shape[:2]
    assert 0 < left < width / 2 < right < width
    assert 0 < top < height / 2 < bottom < height
    assert faces.probabilities[0] > 0.9


@pytest.mark.parametrize(
    ("policy", "use"),
    [
        ("zero", [False, True, False, True]),
        ("hold", [False, True, True, True]),
        ("full-frame", [True, True, True, True]),
    ],
)
def test_what_stands_in_for_a_missing_face(
    portrait: Any, policy: Literal["zero", "hold", "full-frame"], use: list[bool]
) -> None:
    blank = np.full_like(portrait, 90)
    finder = FaceFinder(settings(no_face=policy, face_size=32), torch.device("cpu"))
    faces = finder.find(frames_of(blank, portrait, blank, portrait))
    assert faces.use.tolist() == use
    assert np.isnan(faces.boxes[:, 0]).tolist() == [True, False, True, False]
    assert faces.probabilities[[0, 2]].tolist() == [0, 0]
    for index, used in enumerate(use):
        assert bool(faces.crops[index].any()) == used
    if policy == "hold":
        np.testing.assert_array_equal(faces.crops[2], faces.crops[1])
    if policy == "full-frame":
        assert (faces.crops[2] == 90).all()


def test_a_clip_without_any_face_has_none(portrait: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, portrait.shape, np.uint8)
    with pytest.raises(MediaError, match="no face in any of 2 frames"):
        FaceFinder(settings(), torch.device("cpu")).find(frames_of(noise, noise))


def test_detection_works_small_and_the_crop_comes_from_the_large_frame(portrait: Any) -> None:
    big = portrait.repeat(6, axis=0).repeat(6, axis=1)
    faces = FaceFinder(settings(detect_size=224), torch.device("cpu")).find(frames_of(big))
    alone = FaceFinder(settings(), torch.device("cpu")).find(frames_of(portrait))
    np.testing.assert_allclose(faces.boxes / 6, alone.boxes, atol=6)


def test_of_two_people_the_one_first_kept_is_followed(portrait: Any) -> None:
    both = np.concatenate([portrait, portrait[:, ::-1]], axis=1)
    finder = FaceFinder(settings(), torch.device("cpu"))
    faces = finder.find(frames_of(np.concatenate([portrait, 0 * portrait], axis=1), both, both))
    assert (faces.boxes[:, 2] < portrait.shape[1] + 5).all()


def test_frames_of_several_sizes_in_one_clip(portrait: Any) -> None:
    finder = FaceFinder(settings(), torch.device("cpu"))
    faces = finder.find(frames_of(portrait, portrait[:-20, :-10], portrait))
    assert faces.use.all()


boxes = st.lists(
    st.tuples(*[st.floats(0, 100, width=32)] * 4, st.floats(0.5, 1, width=32)), max_size=4
)


@given(st.lists(boxes, min_size=1, max_size=6))
def test_following_equals_the_rule_said_slowly(clip: list[list[tuple[float, ...]]]) -> None:
    found = [np.array(f, np.float32).reshape(-1, 5) for f in clip]
    kept, probabilities = follow(found)
    last = None
    for index, faces in enumerate(found):
        if not len(faces):
            assert np.isnan(kept[index]).all()
            assert probabilities[index] == 0
            continue

        def far(face: Any, last: Any = last) -> float:
            x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
            area = (face[2] - face[0]) * (face[3] - face[1])
            return float(-area if last is None else (x - last[0]) ** 2 + (y - last[1]) ** 2)

        chosen = kept[index]
        assert far(chosen) == min(map(far, faces))
        last = ((chosen[0] + chosen[2]) / 2, (chosen[1] + chosen[3]) / 2)


@given(st.tuples(*[st.floats(-30, 80, width=32)] * 4), st.integers(1, 40), st.integers(0, 10))
def test_any_box_gives_a_crop(box: tuple[float, ...], size: int, margin: int) -> None:
    image = np.zeros((50, 60, 3), np.uint8)
    assert crop(image, np.array(box, np.float32), size, margin).shape == (size, size, 3)
