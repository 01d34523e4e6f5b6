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
from sedimental.extract.faces.crops import crop, resized, working_size
from sedimental.extract.faces.mtcnn import Detector
from sedimental.extract.faces.track import FORGOTTEN, LARGER, LOST, STILL, SURE, FaceTrack
from sedimental.extract.streams.vision import VisionStream


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


def tracked(detector: Detector, *images: Any, **values: Any) -> tuple[FaceTrack, list[Any]]:
    """The track over `images`, and the crops."""
    track = FaceTrack(settings(**values))
    crops = []
    for image in images:
        size, scale = working_size(image, track.settings.detect_size)
        (faces,) = detector.find([resized(image, size)])
        crops.append(track.next(image, faces / np.array([*[scale] * 4, 1]).astype(np.float32)))  # type: ignore[arg-type]
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


@given(st.lists(boxes, min_size=1, max_size=9), st.sampled_from([1.0, 3.0]))
def test_following_equals_the_rule_said_slowly(
    clip: list[list[tuple[float, ...]]], fps: float
) -> None:
    table = settings(face_size=1, fps=fps, min_brightness=0)
    track = FaceTrack(table)
    found = [np.array(f, np.float32).reshape(-1, 5) for f in clip]
    for faces in found:
        track.next(np.zeros((4, 4, 3), np.uint8), faces)

    def area(face: Any) -> float:
        return float(max(0, face[2] - face[0]) * max(0, face[3] - face[1]))

    def best(faces: list[Any]) -> Any:
        sure = [f for f in faces if f[4] >= max(g[4] for g in faces) - np.float32(SURE)]
        return max(sure, key=area)  # the first of equals, as the rule takes it

    last, seen = None, -1
    for index, all_faces in enumerate(found):
        faces = [f for f in list[Any](all_faces) if f[4] >= table.min_probability]  # type: ignore[assignment]
        gone, chosen = (index - seen) / fps, None
        if faces and last is None:
            chosen = best(faces)  # type: ignore[arg-type]
        elif faces:
            assert last is not None

            def far(face: Any, last: Any = last) -> float:
                return float(np.linalg.norm((face[:2] + face[2:4] - last[:2] - last[2:4]) / 2))

            rivals = [f for f in faces if area(f) >= LARGER * area(last)]
            rivals = [f for f in rivals if f[4] >= last[4] - np.float32(SURE)]
            alike = [f for f in faces if area(f) >= area(last) / LARGER]
            reach = float(last[2] - last[0]) * max(STILL, table.max_speed * min(gone, LOST))
            if rivals:
                chosen = best(rivals)
            elif alike and min(map(far, alike)) <= reach:
                chosen = min(alike, key=far)
            elif gone > FORGOTTEN:
                chosen = best(faces)  # type: ignore[arg-type]
            elif gone > LOST and alike:
                chosen = best(alike)
        if chosen is None:
            assert np.isnan(track.boxes[index]).all()
            assert track.probabilities[index] == 0
            continue
        last, seen = chosen, index
        assert area(track.boxes[index]) == area(chosen)
        assert track.probabilities[index] == chosen[4]


SPEAKER, PHOTO = [100, 60, 200, 190, 0.99], [300, 40, 338, 90, 0.995]
ROOM = np.full((240, 400, 3), 120, np.uint8)


def followed(frames: list[list[list[float]]], room: Any = ROOM, **values: Any) -> FaceTrack:
    """The track over the faces of each frame, in a room that stays the same."""
    track = FaceTrack(settings(face_size=8, **values))
    for faces in frames:
        track.next(room, np.array(faces, np.float32).reshape(-1, 5))
    return track


def who(track: FaceTrack) -> str:
    """S, P or - for each frame: the speaker, the photograph, nobody."""
    lefts = [float(box[0]) for box in track.boxes]
    return "".join("-" if np.isnan(x) else "S" if x < 250 else "P" for x in lefts)


def test_a_photograph_on_the_wall_is_nobody() -> None:
    """M4: while the speaker is hidden, afterwards, and where the clip begins with it."""
    both = [SPEAKER, PHOTO]
    assert who(followed([both] * 5 + [[PHOTO]] * 4 + [both] * 10)) == "SSSSS----SSSSSSSSSS"
    hidden = who(followed([both] * 3 + [[PHOTO]] * 20 + [both] * 3))
    assert hidden[:18] == "SSS" + "-" * 15  # five seconds
    assert hidden[-3:] == "SSS"
    assert who(followed([[PHOTO], [PHOTO], both, both])) == "PPSS"
    assert followed([[PHOTO], both]).jumps == 1


def test_hands_and_darkness_are_no_faces() -> None:
    """M4: a probability floor and a look at the light; both are settings."""
    hands = [120, 180, 260, 240, 0.71]
    assert who(followed([[hands, SPEAKER], [hands], [SPEAKER, hands]])) == "S-S"
    assert who(followed([[hands]], min_probability=0.7)) == "S"
    dark = np.full((240, 400, 3), 5, np.uint8)
    assert followed([[SPEAKER]] * 3, dark).fault == "no face in any of 3 frames"
    assert who(followed([[SPEAKER]] * 3, dark, min_brightness=2)) == "SSS"


def test_of_two_alike_the_first_is_followed_and_the_other_is_not_taken_for_him() -> None:
    """M4: a distance limit in widths of the face a second."""
    other = [300, 60, 380, 170, 0.999]
    assert who(followed([[SPEAKER, other], [other], [other], [other, SPEAKER]])) == "S--S"
    moved = [160, 60, 260, 190, 0.99]
    assert who(followed([[SPEAKER], [moved]])) == "SS"
    assert who(followed([[SPEAKER], [moved]], max_speed=1)) == "S-"
    # who does not come back gives way
    assert who(followed([[SPEAKER, other]] + [[other]] * 6)) == "S--PPPP"


def test_a_cut_to_another_shot_is_followed_at_once() -> None:
    track = FaceTrack(settings(face_size=8))
    other = [300, 60, 360, 140, 0.999]
    for room, faces in ((ROOM, [SPEAKER]), (ROOM // 3, [other]), (ROOM // 3, [other])):
        track.next(room, np.array(faces, np.float32))
    assert who(track) == "SPP"
    assert track.jumps == 1


def test_thresholds_change_the_fingerprint() -> None:
    prints = {
        VisionStream(settings(weights="random:0", **values), "float16").spec.fingerprint
        for values in ({}, {"min_probability": 0.8}, {"max_speed": 3}, {"min_brightness": 9})
    }
    assert len(prints) == 4


@given(st.tuples(*[st.floats(-30, 80, width=32)] * 4), st.integers(1, 40), st.integers(0, 10))
def test_any_box_gives_a_crop(box: tuple[float, ...], size: int, margin: int) -> None:
    image = np.zeros((50, 60, 3), np.uint8)
    assert crop(image, np.array(box, np.float32), size, margin).shape == (size, size, 3)
