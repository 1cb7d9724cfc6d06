"""A picture in the ledger is the picture, to the pixel; what was found is drawn into a copy."""

import cv2
import numpy as np
import pytest

from edge_agent.feedback.picture import encode, marked, png, thumbnail
from edge_agent.messages import Diagnosis, Region

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (37, 61), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (40, 300, 3), dtype=np.uint8)


def read(raw: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    return found if found.ndim == 2 else found[..., ::-1]


def said(**more: object) -> Diagnosis:
    return Diagnosis(loop="l", window=1, end_ns=1, status="ok", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("picture", [GREY, COLOUR, GREY[:1, :1], COLOUR[::2, ::3]])
def test_a_png_loses_nothing_and_is_the_same_every_time(picture: np.ndarray) -> None:
    assert np.array_equal(read(png(picture)), picture)
    assert png(picture) == png(picture.copy())


def test_a_thumbnail_is_small_and_keeps_the_mean() -> None:
    small = thumbnail(COLOUR)
    assert max(small.shape[:2]) <= 96
    assert small.mean() == pytest.approx(COLOUR.mean(), abs=1)
    assert thumbnail(GREY) is GREY


def test_only_what_was_found_somewhere_has_a_marked_picture() -> None:
    assert list(encode(GREY, said())) == ["picture", "thumbnail"]
    found = encode(GREY, said(regions=(Region("scratch", 0.9, 0.1, 0.2, 0.5, 0.6),)))
    assert list(found) == ["picture", "thumbnail", "marked"]
    assert np.array_equal(read(found["picture"]), GREY)


def test_a_jpeg_is_smaller_and_still_the_picture() -> None:
    smooth = cv2.GaussianBlur(COLOUR, (0, 0), 5)
    found = encode(smooth, said(), lossy=True)
    assert len(found["picture"]) < len(png(smooth))
    assert np.abs(read(found["picture"]).astype(int) - smooth).max() < 30


def test_a_frame_is_drawn_where_the_region_is_and_inside_the_picture() -> None:
    found = marked(np.zeros((100, 100), np.uint8), (Region("a", 1.0, 0.2, 0.3, 0.6, 1.5),), None)
    red = found[..., 0] == 255
    assert red[30, 20:61].all()
    assert red[99, 20:61].all()
    assert red.sum() == 2 * 41 + 2 * 70 - 4


def test_heat_turns_its_place_red_and_leaves_the_rest() -> None:
    heat = np.zeros((2, 2), np.float32)
    heat[0, 1] = 3.0
    found = marked(np.full((10, 10), 100, np.uint8), (), heat)
    assert (found[:5, 5:] == (177, 50, 50)).all()
    assert (found[5:] == 100).all()
    assert (found[:5, :5] == 100).all()
