"""What do a graph's outputs mean to each head?"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_agent import plugin
from edge_agent.diagnose import build, card
from edge_agent.errors import ModelRefused


def head(tiny: SimpleNamespace, says: dict[str, Any], outputs: dict[str, str]) -> Any:
    checked = card.check(tiny.card(head=says, graph={"outputs": outputs}))
    module = plugin.load("head", says["type"])
    return module.Head(module.Config.model_validate_json(__import__("json").dumps(says)), checked)


CLASSES = {"type": "classify", "labels": ["normal", "leak", "blocked"], "normal": "normal"}


def f32(*values: Any) -> Any:
    return np.array(values, dtype=np.float32)


def test_every_head_takes_the_window_as_it_is(tiny: SimpleNamespace) -> None:
    made = head(tiny, {"type": "anomaly"}, {"score": "score"})
    seen = tiny.window()
    feeds = made.feeds(seen)
    assert feeds["window"].shape == (1, 3, 8)
    assert np.shares_memory(feeds["window"], seen.values)


def test_anomaly_shares_sum_to_one_and_negative_parts_are_no_blame(tiny: SimpleNamespace) -> None:
    made = head(tiny, {"type": "anomaly"}, {"score": "s", "contributions": "c"})
    found = made.read({"s": f32(4.0), "c": f32([1.0, -2.0, 3.0])}, tiny.window())
    assert found.raw == 4.0
    assert found.contributions == (("current", 0.75), ("flow", 0.25), ("pressure", 0.0))


def test_anomaly_without_any_deviation_blames_nobody(tiny: SimpleNamespace) -> None:
    made = head(tiny, {"type": "anomaly"}, {"score": "s", "contributions": "c"})
    assert made.read({"s": f32(0.0), "c": f32([0, 0, 0])}, tiny.window()).contributions == ()


def test_classify_reads_logits_through_a_softmax(tiny: SimpleNamespace) -> None:
    found = head(tiny, CLASSES, {"logits": "l"}).read({"l": f32([0.0, 1000.0, 0.0])}, tiny.window())
    assert (found.label, found.confidence, found.score) == ("leak", 1.0, 1.0)


def test_classify_scores_how_unlikely_normal_is(tiny: SimpleNamespace) -> None:
    found = head(tiny, CLASSES, {"probabilities": "p"}).read({"p": f32([0.6, 0.3, 0.1])}, tiny.window())
    assert found.label == "normal"
    assert found.score == pytest.approx(0.4)
    assert list(found.probabilities) == ["normal", "leak", "blocked"]


@pytest.mark.parametrize("given", [[0.9, 0.9, 0.9], [1.5, -0.5, 0.0]])
def test_classify_takes_only_probabilities(given: list[float], tiny: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="probabilities from"):
        head(tiny, CLASSES, {"probabilities": "p"}).read({"p": f32(given)}, tiny.window())


def test_regress_gives_the_value_in_its_own_unit_and_confidence_from_the_interval(tiny: SimpleNamespace) -> None:
    made = head(tiny, {"type": "regress", "width": 20.0}, {"value": "v", "low": "a", "high": "b"})
    found = made.read({"v": f32(42.0), "a": f32(40.0), "b": f32(45.0)}, tiny.window())
    assert (found.score, found.confidence) == (42.0, 0.75)


def test_regress_refuses_a_value_outside_its_domain_and_a_reversed_interval(tiny: SimpleNamespace) -> None:
    made = head(tiny, {"type": "regress", "domain": [0, 100], "width": 20.0}, {"value": "v", "low": "a", "high": "b"})
    with pytest.raises(ValueError, match=r"outside 0\.\.100"):
        made.read({"v": f32(-1.0), "a": f32(0), "b": f32(1)}, tiny.window())
    with pytest.raises(ValueError, match="lower end lies"):
        made.read({"v": f32(1.0), "a": f32(5), "b": f32(1)}, tiny.window())


@pytest.mark.parametrize(
    ("says", "outputs", "reason"),
    [
        ({"type": "anomaly"}, {"value": "v"}, "needs graph.outputs.score, or t2 and q"),
        (CLASSES, {"score": "s"}, "needs graph.outputs.probabilities"),
        ({"type": "regress"}, {"score": "s"}, "needs graph.outputs.value"),
        ({"type": "regress", "width": 1.0}, {"value": "v"}, "needs an interval: graph.outputs.low"),
    ],
)
def test_a_head_without_its_output_is_refused(says: Any, outputs: Any, reason: str, tiny: SimpleNamespace) -> None:
    with pytest.raises(ModelRefused, match=reason):
        head(tiny, says, outputs)


def test_a_bundle_makes_its_own_head(folder: Path, tiny: SimpleNamespace) -> None:
    assert tiny.read(folder).head().feeds(tiny.window()).keys() == {"window"}


def test_regress_says_between_which_values_the_truth_lies(tiny: SimpleNamespace) -> None:
    graph = head(tiny, {"type": "regress"}, {"value": "v", "low": "a", "high": "b"})
    found = graph.read({"v": f32(42.0), "a": f32(40.0), "b": f32(45.0)}, tiny.window())
    assert (found.lower, found.upper) == (40.0, 45.0)
    says = {"type": "regress", "width": 20.0, "conformal": {"half": 2.5, "coverage": 0.9, "windows": 120}}
    found = head(tiny, says, {"value": "v"}).read({"v": f32(42.0)}, tiny.window())
    assert (found.lower, found.upper, found.confidence) == (39.5, 44.5, 0.75)


@pytest.mark.parametrize(
    ("says", "outputs", "reason"),
    [
        ({}, {"value": "v", "low": "l"}, "both graph.outputs.low and graph.outputs.high"),
        ({"conformal": {"half": 1.0, "coverage": 0.9, "windows": 50}}, {"value": "v", "low": "l", "high": "h"}, "give one of them"),
    ],
)
def test_an_interval_is_given_once_and_whole(says: Any, outputs: Any, reason: str, tiny: SimpleNamespace) -> None:
    with pytest.raises(ModelRefused, match=reason):
        head(tiny, {"type": "regress", **says}, outputs)


def test_a_conformal_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = [np.abs(rng.normal(size=20)) <= build.conformal(rng.normal(size=60), 0.9)["half"] for _ in range(400)]
    assert 0.89 <= np.mean(held) <= 0.93


def test_too_few_errors_promise_nothing() -> None:
    with pytest.raises(ValueError, match="8 held-out windows cannot promise"):
        build.conformal(np.ones(8), 0.9)


def test_anomaly_takes_the_worse_of_two_statistics_each_in_units_of_its_limit(tiny: SimpleNamespace) -> None:
    made = head(tiny, {"type": "anomaly", "method": "pca"}, {"t2": "t", "q": "q"})
    assert made.read({"t": f32(0.4), "q": f32(1.7)}, tiny.window()).raw == pytest.approx(1.7)
    assert made.read({"t": f32(2.5), "q": f32(1.7)}, tiny.window()).raw == 2.5


PARTS = {"type": "classify", "labels": ["pump=0", "pump=2", "valve=90", "valve=100"], "normal": ["pump=0", "valve=100"]}


def test_each_part_of_a_machine_has_probabilities_of_its_own(tiny: SimpleNamespace) -> None:
    found = head(tiny, PARTS, {"logits": "l"}).read({"l": f32([0.0, 0.0, 2.0, 0.0])}, tiny.window())
    assert found.probabilities["pump=0"] + found.probabilities["pump=2"] == pytest.approx(1.0)
    assert found.probabilities["valve=90"] == pytest.approx(0.881, abs=1e-3)


def test_the_surest_fault_of_any_part_is_named(tiny: SimpleNamespace) -> None:
    found = head(tiny, PARTS, {"probabilities": "p"}).read({"p": f32([0.1, 0.9, 0.6, 0.4])}, tiny.window())
    assert (found.label, found.confidence) == ("pump=2", pytest.approx(0.9))
    assert found.score == pytest.approx(0.9)


def test_where_no_part_is_faulty_the_least_sure_one_speaks(tiny: SimpleNamespace) -> None:
    found = head(tiny, PARTS, {"probabilities": "p"}).read({"p": f32([0.9, 0.1, 0.4, 0.6])}, tiny.window())
    assert (found.label, found.confidence) == ("valve=100", pytest.approx(0.6))


def test_probabilities_of_one_part_that_do_not_sum_to_one_are_no_answer(tiny: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"sum to 1\.5"):
        head(tiny, PARTS, {"probabilities": "p"}).read({"p": f32([0.5, 1.0, 0.2, 0.3])}, tiny.window())


@pytest.mark.parametrize("normal", [["pump=0", "pump=2"], ["pump=0", "valve=80"]])
def test_each_part_has_one_normal_state(tiny: SimpleNamespace, normal: list[str]) -> None:
    with pytest.raises(ValueError, match="one of them normal"):
        head(tiny, {**PARTS, "normal": normal}, {"logits": "l"})


# ---------------------------------------------------------------- pictures


def eye(tiny: SimpleNamespace, says: dict[str, Any], outputs: dict[str, str], **picture: Any) -> Any:
    seen = {"height": 100, "width": 200} | picture
    checked = card.check(
        tiny.card(
            head=says,
            window={"rows": 1},
            roles=[{"role": "picture"}],
            picture=seen,
            graph={"outputs": outputs},
        )
    )
    module = plugin.load("head", says["type"])
    return module.Head(module.Config.model_validate_json(__import__("json").dumps(says)), checked)


DETECT = {"type": "detect", "labels": ["scratch", "hole"]}
BOXES = {"boxes": "b", "box_scores": "s", "box_classes": "c"}


def boxed(*found: tuple[tuple[float, float, float, float], float, float]) -> dict[str, Any]:
    return {"b": f32([box for box, _, _ in found]), "s": f32([s for _, s, _ in found]), "c": f32([c for _, _, c in found])}


def test_boxes_become_regions_in_shares_of_the_picture(tiny: SimpleNamespace) -> None:
    made = eye(tiny, DETECT, BOXES, boxes=2)
    found = made.read(boxed(((20, 10, 60, 90), 0.9, 1.0), ((0, 0, 10, 10), 0.3, 0.0)), tiny.window())
    assert (found.score, found.label) == (pytest.approx(0.9), "hole")
    assert [r.label for r in found.regions] == ["hole"]
    assert found.regions[0][2:] == pytest.approx((0.1, 0.1, 0.3, 0.9))


def test_of_boxes_that_overlap_the_surer_one_counts_class_by_class(tiny: SimpleNamespace) -> None:
    made = eye(tiny, DETECT, BOXES, boxes=4)
    a, b = (0.0, 0.0, 100.0, 100.0), (5.0, 0.0, 100.0, 100.0)
    found = made.read(boxed((a, 0.7, 0.0), (b, 0.9, 0.0), (b, 0.8, 1.0), ((150.0, 0.0, 190.0, 90.0), 0.6, 0.0)), tiny.window())
    assert [(r.label, round(r.score, 1)) for r in found.regions] == [("scratch", 0.9), ("hole", 0.8), ("scratch", 0.6)]
    left_alone = eye(tiny, DETECT | {"overlap": None}, BOXES, boxes=4)
    assert len(left_alone.read(boxed((a, 0.7, 0.0), (b, 0.9, 0.0)), tiny.window()).regions) == 2


def test_nothing_found_is_a_score_without_a_label(tiny: SimpleNamespace) -> None:
    made = eye(tiny, DETECT, BOXES, boxes=2)
    found = made.read(boxed(((0, 0, 9, 9), 0.1, 0.0), ((9, 9, 9, 9), 0.0, 0.0)), tiny.window())
    assert (found.score, found.confidence, found.label, found.regions) == (pytest.approx(0.1), pytest.approx(0.9), None, ())


@pytest.mark.parametrize("found", [boxed(((0, 0, 9, 9), 1.4, 0.0)), boxed(((0, 0, 9, 9), 0.4, 2.0)), boxed(((0, 0, 9, 9), 0.4, -1.0))])
def test_scores_and_classes_that_are_none_are_refused(tiny: SimpleNamespace, found: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="box"):
        eye(tiny, DETECT, BOXES, boxes=1).read(found, tiny.window())


def test_a_map_is_as_strange_as_its_strangest_cells(tiny: SimpleNamespace) -> None:
    heat = np.zeros((1, 10, 20), np.float32)
    heat[0, 2:4, 5:8] = 3.0
    heat[0, 9, 19] = 5.0
    made = eye(tiny, {"type": "anomaly_map", "top": 0.01, "hot": 2.0}, {"map": "m"}, map=[10, 20])
    found = made.read({"m": heat}, tiny.window())
    assert found.score == pytest.approx(4.0)
    assert [r[1:] for r in found.regions] == [pytest.approx((5.0, 0.95, 0.9, 1.0, 1.0)), pytest.approx((3.0, 0.25, 0.2, 0.4, 0.4))]
    assert found.heat is not None
    assert found.heat.shape == (10, 20)


@pytest.mark.parametrize(
    ("says", "outputs", "picture"),
    [
        (DETECT, {"score": "s"}, {}),
        (DETECT, {"boxes": "b", "box_scores": "s"}, {"boxes": 3}),
        ({"type": "anomaly_map"}, {"score": "s"}, {}),
    ],
)
def test_a_head_of_pictures_without_its_outputs_is_refused(tiny: SimpleNamespace, says: Any, outputs: Any, picture: Any) -> None:
    with pytest.raises(ModelRefused, match="needs"):
        eye(tiny, says, outputs, **picture)


def test_where_every_label_is_a_finding_the_score_is_how_sure_it_is(tiny: SimpleNamespace) -> None:
    says = {"type": "classify", "labels": ["scratch", "inclusion"]}
    found = head(tiny, says, {"probabilities": "p"}).read({"p": f32([0.2, 0.8])}, tiny.window())
    assert (found.label, found.confidence, found.score) == ("inclusion", pytest.approx(0.8), pytest.approx(0.8))
