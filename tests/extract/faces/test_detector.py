"""The cascade against facenet-pytorch's own, and what a picture's neighbours may not change."""

from typing import Any

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN

from sedimental.extract.corpora.demo import FOLDER
from sedimental.extract.decode.media import read_media
from sedimental.extract.faces.mtcnn import Detector, _cut, _summed

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures() -> list[Any]:
    """Frames of several people, one beside another, one pale, one of noise."""
    frames = []
    for path in sorted(FOLDER.glob("Raw/*/0001.mp4"))[:3]:
        media = read_media(path, fps=1.0, audio=False)
        assert media.frames is not None
        frames += list(media.frames.images[:2])
    noise = np.random.default_rng(0).integers(0, 255, frames[0].shape, np.uint8)
    pair = np.concatenate([frames[0][:, 40:-40], frames[2][:, 40:-40]], axis=1)
    return [*frames, frames[0] // 4, noise, pair[:, : frames[0].shape[1]]]


def test_finds_what_the_library_s_own_cascade_finds(pictures: list[Any]) -> None:
    reference: Any = MTCNN(keep_all=True, post_process=False, min_face_size=20)
    boxes, probabilities = reference.detect(np.stack(pictures))
    found = Detector(CPU).find(pictures)
    assert sum(map(len, found)) >= 6
    for faces, box, probability in zip(found, boxes, probabilities, strict=True):
        if box is None:
            assert not len(faces)
            continue
        np.testing.assert_allclose(faces[:, :4], box.astype(float), atol=0.01)
        np.testing.assert_allclose(faces[:, 4], probability.astype(float), atol=1e-4)


def test_a_picture_s_faces_depend_on_nothing_beside_it(pictures: list[Any]) -> None:
    together = Detector(CPU, threads=3).find(pictures)
    alone = Detector(CPU)
    for picture, faces in zip(pictures, together, strict=True):
        np.testing.assert_array_equal(alone.find([picture])[0], faces)


def test_pictures_without_room_for_a_face_have_none() -> None:
    detector = Detector(CPU)
    assert detector.find([]) == []
    for height, width in ((4, 200), (19, 19), (20, 20), (64, 48)):
        (faces,) = detector.find([np.zeros((height, width, 3), np.uint8)])
        assert faces.shape == (0, 5)


def test_crops_from_the_table_of_sums_are_adaptive_means() -> None:
    picture = torch.randint(0, 255, (2, 37, 53, 3), dtype=torch.uint8)
    owner = torch.tensor([0, 1, 1])
    begin, end = (
        torch.tensor([[3, 4], [0, 0], [50, 30]]),
        torch.tensor([[40, 30], [53, 37], [53, 37]]),
    )
    cut = _cut(_summed(picture), owner, begin, end, 24)
    for n in range(3):
        (left, top), (right, bottom) = begin[n].tolist(), end[n].tolist()
        window = picture[owner[n], top:bottom, left:right].permute(2, 0, 1).float()
        literal = torch.nn.functional.interpolate(window[None], size=(24, 24), mode="area")[0]
        torch.testing.assert_close(cut[n], literal)
