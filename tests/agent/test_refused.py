"""A model that may not act here: its loop is refused with words, the others run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge_agent import service
from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeAgentError, LedgerError, ModelRefused

pytestmark = pytest.mark.anyio


def tampered(rig: Any) -> None:
    with (rig.folder / "models" / "odd" / "card.yaml").open("a") as card:
        card.write("# a friendly hand\n")


def unsigned(rig: Any) -> None:
    rig.bundle("odd", sign_it=False)


def unsigned_in_tier_1(rig: Any) -> None:
    rig.said["models"]["unsigned"] = True
    rig.bundle("odd", sign_it=False)
    rig.add_loop("odd", rig.LOOP, diagnose={"model": "odd"})
    del rig.said["loops"]["p1"]


def tier_of_the_card(rig: Any) -> None:
    rig.bundle("odd", intended={"use": "watching", "tier": 0})
    rig.add_loop("odd", rig.LOOP, diagnose={"model": "odd"})
    del rig.said["loops"]["p1"]


def other_rows(rig: Any) -> None:
    rig.said["loops"]["odd"]["perceive"]["window"] = 5


def other_pace(rig: Any) -> None:
    rig.said["loops"]["odd"]["perceive"]["every"] = "100 ms"


def a_model_of_events(rig: Any) -> None:
    rig.bundle("odd", window={"rows": 4})


def other_tags(rig: Any) -> None:
    rig.said["loops"]["odd"]["perceive"]["tags"] = ["flow"]


def nowhere(rig: Any) -> None:
    rig.said["loops"]["odd"]["diagnose"]["model"] = "odd/or/even"


def damaged_store(rig: Any) -> None:
    (rig.folder / "models" / "stored").mkdir()
    (rig.folder / "models" / "stored" / "state.json").write_text("{")
    rig.said["loops"]["odd"]["diagnose"]["model"] = "stored"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (tampered, r"card.yaml: is not what the manifest says"),
        (unsigned, r"not signed by a trusted key"),
        (unsigned_in_tier_1, r"loops.odd: tier 1 may not use odd@1.0.0: it is not signed by a trusted key"),
        (tier_of_the_card, r"loops.odd: tier 1 may not use odd@1.0.0: its card allows tier 0"),
        (other_rows, r"rig.yaml:\d+:\d+: loops.odd.perceive.window: 5 rows; odd@1.0.0 was trained on 4; write `window: 4`"),
        (other_pace, r"rig.yaml:\d+:\d+: loops.odd.perceive.every: rows 0.1 s apart; odd@1.0.0 was trained on rows 0.02 s apart"),
        (
            a_model_of_events,
            r"loops.odd.perceive.every: rows 0.02 s apart; odd@1.0.0 was trained on rows one for each event; write `follow",
        ),
        (other_tags, r"loops.odd.perceive.tags: 1 tags; odd@1.0.0 takes 2"),
        (nowhere, r"rig.yaml:\d+:\d+: loops.odd.diagnose.model: model 'odd/or/even': no bundle at "),
        (damaged_store, r"loops.odd.diagnose.model: .*stored: nothing is installed here, or its state.json is damaged"),
    ],
)
async def test_the_loop_is_refused_and_the_others_run(rig: Any, spoil: Callable[[Any], None], why: str) -> None:
    rig.bundle("odd")
    rig.add_loop("odd", diagnose={"model": "odd"})
    rig.add_loop("p2")
    spoil(rig)
    async with rig.running() as run:
        await run.turns("p2", 1)
        assert list(run.agent.refused) == ["odd"]
        assert run.agent.refused == run.agent.page()["refused"]
        with pytest.raises(EdgeAgentError, match=why):
            await run.arm("odd")
    (record,) = rig.records("model", "odd")
    assert (record.payload["event"], record.payload["why"]) == ("refused", run.agent.refused["odd"])


async def test_an_agent_whose_only_model_is_refused_ends_with_exit_code_4(rig: Any) -> None:
    rig.bundle("tiny", sign_it=False)
    with pytest.raises(ModelRefused, match=r"loop p1: .*not signed") as caught:
        await service.run(rig.configuration(), clock=SystemClock())
    assert caught.value.exit_code == 4


async def test_two_agents_of_one_state_are_refused_in_plain_words(rig: Any) -> None:
    async with rig.running() as run:
        with pytest.raises(LedgerError, match="another"):
            await service.run(rig.configuration(), clock=SystemClock())
        await run.turns("p1")
        assert (rig.state / "control.sock").exists()


async def test_a_model_that_was_installed_is_found_in_its_store(rig: Any) -> None:
    bundle = rig.bundle("stored")
    home = rig.folder / "elsewhere"
    (home / "stored").mkdir(parents=True)
    bundle.rename(home / "stored" / "1.0.0-abc")
    (home / "stored" / "state.json").write_text('{"current": "1.0.0-abc"}')
    rig.said["loops"]["p1"]["diagnose"]["model"] = str(home / "stored")
    async with rig.running() as run:
        await run.turns("p1", 1)
        assert run["p1"].chosen.bundles[0].path == home / "stored" / "1.0.0-abc"
