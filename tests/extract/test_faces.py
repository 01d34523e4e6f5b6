"""The rule that follows one face, the crops, and what stands in for none."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sedimental.config import VisionFeatures
from sedimental.extract.corpora.demo import FOLDER
from sedimental.extract.decode.media import read_media
from sedimental.extract.faces.mtcnn import Detector
from sedimental.extract.faces.track import Track, crop, resized, working_size


@pytest.fixture(scope="module")
def portrait() -> Any:
    """One frame of the demo corpus."""
    frames = read_media(next(FOLDER.glob("Raw/*/0001.mp4")), fps=3.0, audio=False).frames
    assert frames is not None
    return frames.images[0]


def settings(**values: Any) -> VisionFeatures:
    return VisionFeatures(modality="vision", encoder="tiny-clip", **values)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(torch.device("cpu"))


def tracked(detector: Detector, *images: Any, **values: Any) -> tuple[Track, list[Any]]:
    """The track over `images`, and the crops."""
    track = Track(settings(**values))
    crops = []
    for image in images:
        size, scale = working_size(image, track.settings.detect_size)
        (faces,) = detector.find([resized(image, size)])
        crops.append(track.next(image, faces / np.array([*[scale] * 4, 1], np.float32)))
    return track, crops


def test_finds_the_face_and_crops_it(portrait: Any, detector: Detector) -> None:
    track, (found,) = tracked(detector, portrait, face_size=96)
    assert found.shape == (96, 96, 3)
    left, top, right, bottom = track.boxes[0]
    height, width = portrait.shape[:2]
    assert 0 < left < width / 2 < right < width
    assert 0 < top < height / 2 < bottom < height
    assert track.probabilities[0] > 0.9


@pytest.mark.parametrize(
    ("policy", "use"),
    [
        ("zero", [False, True, False, True]),
        ("hold", [False, True, True, True]),
        ("full-frame", [True, True, True, True]),
    ],
)
def test_what_stands_in_for_a_missing_face(
    portrait: Any,
    detector: Detector,
    policy: Literal["zero", "hold", "full-frame"],
    use: list[bool],
) -> None:
    blank = np.full_like(portrait, 90)
    images = (blank, portrait, blank, portrait)
    track, crops = tracked(detector, *images, no_face=policy, face_size=32)
    assert track.use == use
    assert np.isnan(np.stack(track.boxes)[:, 0]).tolist() == [True, False, True, False]
    assert [track.probabilities[0], track.probabilities[2]] == [0, 0]
    assert [found is not None for found in crops] == use
    if policy == "hold":
        np.testing.assert_array_equal(crops[2], crops[1])
    if policy == "full-frame":
        assert (crops[2] == 90).all()


def test_a_clip_without_any_face_has_none(portrait: Any, detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 255, portrait.shape, np.uint8)
    assert tracked(detector, noise, noise)[0].fault == "no face in any of 2 frames"
    assert tracked(detector, noise, no_face="hold")[0].fault == "no face in any of 1 frames"
    assert tracked(detector, noise, no_face="full-frame")[0].fault is None
    assert tracked(detector, noise, portrait)[0].fault is None


def test_detection_works_small_and_the_crop_comes_from_the_large_frame(
    portrait: Any, detector: Detector
) -> None:
    big = portrait.repeat(6, axis=0).repeat(6, axis=1)
    track, _ = tracked(detector, big, detect_size=224)
    alone, _ = tracked(detector, portrait)
    np.testing.assert_allclose(track.boxes[0] / 6, alone.boxes[0], atol=6)


def test_of_two_people_the_one_first_kept_is_followed(portrait: Any, detector: Detector) -> None:
    both = np.concatenate([portrait, portrait[:, ::-1]], axis=1)
    first = np.concatenate([portrait, 0 * portrait], axis=1)
    track, _ = tracked(detector, first, both, both)
    assert (np.stack(track.boxes)[:, 2] < portrait.shape[1] + 5).all()


boxes = st.lists(
    st.tuples(*[st.floats(0, 100, width=32)] * 4, st.floats(0.5, 1, width=32)), max_size=4
)


@given(st.lists(boxes, min_size=1, max_size=6))
def test_following_equals_the_rule_said_slowly(clip: list[list[tuple[float, ...]]]) -> None:
    found = [np.array(f, np.float32).reshape(-1, 5) for f in clip]
    track = Track(settings(face_size=1))
    for faces in found:
        track.next(np.zeros((4, 4, 3), np.uint8), faces)
    kept, probabilities = track.boxes, track.probabilities
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
