"""A picture becomes the model's input the same way everywhere, and a card that cannot mean it is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_agent.config import model as config_model
from edge_agent.diagnose import card as cards
from edge_agent.diagnose.card import Picture
from edge_agent.diagnose.link import Diagnoser
from edge_agent.diagnose.picture import fits, fitted, placed
from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, Region

pytestmark = pytest.mark.anyio

H, W = 16, 24


def spec(**changes: Any) -> Picture:
    return Picture.model_validate({"height": H, "width": W} | changes)


def ramp(height: int = H, width: int = W) -> np.ndarray:
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


@pytest.fixture
async def looking(tiny: SimpleNamespace, tmp_path: Path, in_process: InProcessRuntime) -> Diagnoser:
    """A model of pictures whose probability of `dark` is 1 - brightness."""
    nodes = [
        tiny.node("ReduceMean", ["picture", "axes"], ["mean"], keepdims=0),
        tiny.node("Div", ["mean", "full"], ["bright"]),
        tiny.node("Sub", ["one", "bright"], ["dark"]),
        tiny.node("Concat", ["bright", "dark"], ["p"], axis=1),
    ]
    constants = [tiny.tensor("axes", [2, 3], np.int64), tiny.tensor("full", 255.0), tiny.tensor("one", 1.0)]
    made = tiny.model(nodes, constants, inputs=[tiny.value("picture", ["N", 1, H, W])], outputs=[tiny.value("p", ["N", 2])])
    folder = tiny.write(
        tmp_path / "eye",
        made,
        {"picture": np.full((3, 1, H, W), 100, np.float32)},
        head={"type": "classify", "labels": ["bright", "dark"], "normal": "bright"},
        window={"rows": 1},
        roles=[{"role": "picture"}],
        picture={"height": H, "width": W},
        graph={"window": "picture", "outputs": {"probabilities": "p"}},
        calibration=None,
        thresholds={"novelty": 0.99},
        envelope={"centre": [128.0, 0.0], "scale": [64.0, 1.0], "distances": [0.0, 1.9], "q": [0.0, 1.0], "low": [1.0], "high": [254.0]},
    )
    await in_process.load(folder)
    bundle = in_process.opened(folder)
    config = config_model.Diagnose.model_validate({"model": "eye"})
    return Diagnoser("l", bundle, bundle.head(), in_process, config, tags=("left", "right"), scale={}, now_ns=lambda: 5_000_000_000)


def seen(tiny: SimpleNamespace, picture: np.ndarray, **changes: Any) -> Any:
    return tiny.window(picture, tags=("left",), quality=np.zeros((1, 1), np.uint16), **changes)


def test_a_picture_that_fits_is_only_cast() -> None:
    picture = ramp()
    assert fits(picture, spec())
    assert np.array_equal(fitted(picture, spec()), picture[None].astype(np.float32))


def test_a_picture_twice_as_large_is_averaged_over_areas() -> None:
    found = fitted(np.repeat(np.repeat(ramp(), 2, 0), 2, 1), spec())
    assert np.array_equal(found[0], ramp())


def test_colour_comes_as_planes_and_becomes_grey_where_the_card_says_so() -> None:
    picture = np.zeros((H, W, 3), np.uint8)
    picture[..., 0] = 200
    assert fitted(picture, spec(colour="rgb")).mean(axis=(1, 2)).tolist() == [200, 0, 0]
    assert fitted(picture, spec()).shape == (1, H, W)
    assert fitted(picture, spec()).mean() == pytest.approx(200 * 0.299, abs=1)
    assert fitted(ramp(), spec(colour="rgb")).shape == (3, H, W)


def test_a_letterbox_keeps_the_shape_and_fills_with_black() -> None:
    found = fitted(np.full((H, H), 9, np.uint8), spec(fit="letterbox"))[0]
    assert found[:, :4].max() == 0
    assert found[:, 4 : 4 + H].min() == 9


def test_a_crop_takes_the_middle() -> None:
    found = fitted(ramp(2 * H, 4 * W), spec(fit="crop"))[0]
    assert found.min() > 50
    assert found.max() < 205


@pytest.mark.parametrize("picture", [np.zeros((H, W), np.float32), np.zeros((H, W, 4), np.uint8), np.zeros((0, W), np.uint8)])
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture of"):
        fitted(picture, spec())


@pytest.mark.parametrize(
    "changes",
    [
        {"roles": [{"role": "a"}, {"role": "b"}]},
        {"window": {"rows": 2}},
        {"picture": None, "graph": {"window": "w", "outputs": {"score": "s", "map": "m"}}},
        {"graph": {"window": "w", "outputs": {"score": "s", "map": "m"}}},
        {"picture": {"height": H, "width": W, "map": [2, 2]}},
        {"picture": {"height": H, "width": W, "boxes": 5}},
        {"picture": {"height": H, "width": W, "colour": "bgr"}},
    ],
)
def test_a_card_of_pictures_that_contradicts_itself_is_refused(changes: dict[str, Any], tiny: SimpleNamespace) -> None:
    base = {
        "window": {"rows": 1},
        "roles": [{"role": "picture"}],
        "picture": {"height": H, "width": W},
        "graph": {"window": "w", "outputs": {"score": "s"}},
    }
    cards.check(tiny.card(**base))
    with pytest.raises(ModelRefused):
        cards.check({k: v for k, v in tiny.card(**(base | changes)).items() if v is not None})


async def test_the_picture_of_any_camera_of_the_loop_is_diagnosed(looking: Diagnoser, tiny: SimpleNamespace) -> None:
    found = await looking.diagnose(seen(tiny, np.full((H, W), 51, np.uint8)))
    assert (found.status, found.label) == ("ok", "dark")
    assert found.score == pytest.approx(0.8, abs=1e-6)
    assert found.contributions == ()


async def test_a_picture_of_another_size_gives_the_same_answer(looking: Diagnoser, tiny: SimpleNamespace) -> None:
    found = await looking.diagnose(seen(tiny, np.full((2 * H, 2 * W, 3), 51, np.uint8)))
    assert found.score == pytest.approx(0.8, abs=1e-3)


async def test_a_picture_unlike_all_training_pictures_is_novel(looking: Diagnoser, tiny: SimpleNamespace) -> None:
    found = await looking.diagnose(seen(tiny, np.full((H, W), 255, np.uint8)))
    assert found.status == "novel"
    assert "left" in found.why


async def test_a_map_of_any_head_is_the_heat_of_the_picture_where_it_was_seen(
    tiny: SimpleNamespace, tmp_path: Path, in_process: InProcessRuntime
) -> None:
    nodes = [
        tiny.node("ReduceMean", ["picture", "channel"], ["m"], keepdims=0),
        tiny.node("ReduceMax", ["m", "axes"], ["score"], keepdims=0),
    ]
    constants = [tiny.tensor("channel", [1], np.int64), tiny.tensor("axes", [1, 2], np.int64)]
    made = tiny.model(
        nodes,
        constants,
        inputs=[tiny.value("picture", ["N", 1, H, W])],
        outputs=[tiny.value("score", ["N"]), tiny.value("m", ["N", H, W])],
    )
    folder = tiny.write(
        tmp_path / "eye",
        made,
        {"picture": np.full((2, 1, H, W), 9, np.float32)},
        window={"rows": 1},
        roles=[{"role": "picture"}],
        picture={"height": H, "width": W, "fit": "letterbox", "map": [H, W]},
        graph={"window": "picture", "outputs": {"score": "score", "map": "m"}},
        calibration={"raw": [0.0, 255.0], "score": [0.0, 1.0]},
    )
    await in_process.load(folder)
    bundle = in_process.opened(folder)
    config = config_model.Diagnose.model_validate({"model": "eye"})
    made_of = Diagnoser("l", bundle, bundle.head(), in_process, config, tags=("left",), scale={})
    picture = np.zeros((H, H), np.uint8)  # a square: it lies in the middle of the input
    picture[0, 0] = 200
    found = await made_of.diagnose(seen(tiny, picture))
    assert found.heat is not None
    hot = np.argwhere(found.heat > 100)
    assert hot[:, 0].max() == 0, "in the picture's own upper left corner, not where the box was in the input"
    assert hot[:, 1].max() <= 1


@pytest.mark.parametrize(("fit", "expected"), [("stretch", (0.25, 0.75)), ("letterbox", (0.125, 0.875)), ("crop", (0.25, 0.75))])
def test_a_region_of_the_input_lies_where_it_is_in_the_picture(fit: str, expected: tuple[float, float]) -> None:
    found = Diagnosis(loop="l", window=1, end_ns=1, status="ok", regions=(Region("a", 1.0, 0.25, 0.25, 0.75, 0.75),))
    moved = placed(found, (H, H), spec(fit=fit)).regions[0]
    assert (moved.left, moved.right) == pytest.approx(expected)


async def test_a_part_whose_turn_comes_too_late_is_late(looking: Diagnoser, tiny: SimpleNamespace) -> None:
    found = await looking.diagnose(seen(tiny, np.full((H, W), 51, np.uint8), due_ns=4_900_000_000))
    assert found.status == "late"
