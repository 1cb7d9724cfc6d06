"""From a message to a command: what does the whole agent cost beside a script by hand, and beside the peers?"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import contenders, peers
from bench.agent import HOME
from bench.broker import broker
from bench.contenders import Contender, Made, answer_times
from bench.measure import Spread, percentile, ratio
from bench.report import Goal, Section, Table

HOP = 16
OURS, PLANT = {0}, {1}  # cores: who is measured; who sends, and the broker
_SAYS = "A 120-byte JSON message of one sensor; a sliding window of 64 values; every 16th message an INT8 1-D CNN and a rule, and a command when the level has changed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """One way of sending."""

    rate: int  # messages a second
    count: int
    flips: int
    burst: int

    @property
    def at(self) -> list[int]:
        """The messages at which the level changes: each the last of a hop."""
        step = self.count // (self.flips + 1) // HOP * HOP
        return [step * (i + 1) + HOP - 1 for i in range(self.flips)]


def pace(rate: int, seconds: float) -> Pace:
    """An even number of flips, four a second: a write is read back before the next is due."""
    count = int(rate * seconds) // (4 * HOP) * (4 * HOP)
    return Pace(rate=rate, count=count, flips=int(seconds * 4) // 2 * 2, burst=max(1, rate // 1000))


def send(folder: Path, port: int, name: str, pace: Pace, *, qos: int = 0) -> dict[str, Any]:
    """Have the plant send; what it saw."""
    spec, out = folder / f"send-{name}.json", folder / f"sent-{name}.json"
    wanted = {"kind": "wave", "port": port, "name": name, "rate": pace.rate, "count": pace.count, "flips": pace.at, "burst": pace.burst}
    spec.write_text(json.dumps({**wanted, "qos": qos, "out": str(out)}))
    command = ["taskset", "-c", "1", sys.executable, "-m", "bench.sender", str(spec)]
    subprocess.run(command, cwd=HOME, check=True, timeout=120, capture_output=True)
    return dict(contenders.load(out))


def one_round(folder: Path, port: int, who: Contender, pace: Pace) -> None:
    """One contender, one round: CPU per message, times to the command."""
    before = who.cpu_s()
    seen = send(folder, port, who.name, pace)
    time.sleep(0.3)
    spent = who.cpu_s() - before
    times, missing = answer_times(seen["flipped"], seen["answers"])
    for key, value in (
        ("cpu", 1e6 * spent / pace.count),
        ("p50", percentile(times, 0.5)),
        ("p99", percentile(times, 0.99)),
        ("missing", missing),
    ):
        who.found.setdefault(f"{key}@{pace.rate}", []).append(value)


def measure(folder: Path, port: int, who: list[Contender], paces: list[Pace], rounds: int) -> None:
    """Everybody once a round, each round in another order."""
    for i in range(rounds):
        for pace in paces:
            for one in who[i % len(who) :] + who[: i % len(who)]:
                one_round(folder, port, one, pace)


def _ready(folder: Path, port: int, who: list[Contender]) -> None:
    """Warm everybody up, and let ours write."""
    for one in who:
        if one.agent is not None:
            _await_link(one.agent)
        send(folder, port, one.name, Pace(rate=1000, count=10 * 4 * HOP, flips=0, burst=1)) if one.found is not None else None
        if one.agent is not None:
            contenders.arm(one.agent)


def _await_link(agent: Any) -> None:
    for _ in range(50):
        if all(c.get("link") == "up" for c in agent.status()["connectors"].values()):
            return
        time.sleep(0.2)
    raise RuntimeError("the agent has no link to the broker")


def lossless(folder: Path, port: int, made: Made, *, rate: int, qos: int, seconds: float) -> dict[str, float]:
    """Messages sent and taken at a rate, the ledger's acknowledgement included for QoS 1."""
    name = f"qos{qos}"
    with contenders.ours(folder, port, made, name=name, qos=qos, record=qos == 1, cores=OURS) as one:
        assert one.agent is not None
        _await_link(one.agent)
        time.sleep(1)
        count = int(rate * seconds)
        before, began = one.cpu_s(), time.monotonic()
        send(folder, port, name, Pace(rate=rate, count=count, flips=0, burst=max(1, rate // 1000)), qos=qos)
        took = time.monotonic() - began
        taken = 0
        for _ in range(40):
            status = one.agent.status()
            taken = status["connectors"]["bus"]["tags"]["x"]["messages"]
            written = status["ledger"]["last_seq"]
            if taken >= count and (qos == 0 or written >= count):
                break
            time.sleep(0.25)
        return {
            "sent": count,
            "taken": taken,
            "recorded": written if qos else float("nan"),
            "dropped": status["inbox"]["dropped"],
            "cpu": 1e6 * (one.cpu_s() - before) / count,
            "took": took,
        }


def run(folder: Path, *, quick: bool) -> Section:
    """Ours, the floor, and every peer that can be had here; then the rates without loss."""
    rounds = 3 if quick else 5
    paces = [pace(1000, 2 if quick else 4), pace(10_000, 1 if quick else 2)]
    made = contenders.bundle(folder)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(broker(folder, cores=PLANT))
        makers: dict[str, Callable[[], Any]] = {
            "ours": partial(contenders.ours, folder, port, made, hop=HOP, cores=OURS),
            "floor": partial(contenders.floor, folder, port, made, hop=HOP, cores=OURS),
            "durable": partial(contenders.floor, folder, port, made, name="durable", hop=HOP, intents=True, cores=OURS),
            **({} if quick else peers.makers(folder, port, cores=OURS)),
        }
        who, failed = contenders.together(stack, makers)
        _ready(folder, port, who)
        measure(folder, port, who, paces, rounds)
        every = _each_message(stack, folder, port, made, rounds, quick=quick)
        memory = {one.name: one.rss_mb() for one in who}
        loss = (
            []
            if quick
            else [lossless(folder, port, made, rate=20_000, qos=0, seconds=3), lossless(folder, port, made, rate=5_000, qos=1, seconds=3)]
        )
    return _section(who, failed, paces, every, memory, loss)


def _each_message(stack: contextlib.ExitStack, folder: Path, port: int, made: Made, rounds: int, *, quick: bool) -> list[Contender]:
    """The hardest case: a window, a run of the model and a decision at each message."""
    if quick:
        return []
    both, _ = contenders.together(
        stack,
        {
            "ours": partial(contenders.ours, folder, port, made, name="ours1", hop=1, cores=OURS),
            "floor": partial(contenders.floor, folder, port, made, name="floor1", hop=1, cores=OURS),
        },
    )
    _ready(folder, port, both)
    measure(folder, port, both, [pace(1000, 3)], min(rounds, 3))
    return both


def _section(
    who: list[Contender],
    failed: dict[str, str],
    paces: list[Pace],
    every: list[Contender],
    memory: dict[str, float],
    loss: list[dict[str, float]],
) -> Section:
    named, (low, high) = {one.name: one.found for one in who}, (str(pace.rate) for pace in paces)
    columns = (
        "who", "RSS MB", f"CPU us/message at {low}/s", "/ script", f"at {high}/s", "/ script",
        f"p50 ms at {low}/s", "p99 ms", f"p50 ms at {high}/s", "p99 ms", "commands missing",
    )  # fmt: skip
    return Section(
        title="MQTT: from a message to a command",
        about=f"{_SAYS} Stock mosquitto (Nagle on), QoS 0. Who is measured on core 0, broker and sender on core 1. Ours: control and worker "
        "together, armed, the day's keep budget used up, every command with its intent on disk before it leaves and read back after.",
        goals=[*_cpu_goals(named, (low, high)), *_time_goals(named, low), *_loss_goals(loss)],
        tables=[Table(columns=columns, rows=[_row(one, named["floor"], (low, high), memory[one.name]) for one in who])],
        notes=[*_notes(named, low, every), *(f"{name} is not here: {why}." for name, why in failed.items())],
    )


def _cpu_goals(named: dict[str, Any], rates: tuple[str, str]) -> list[Goal]:
    goals = []
    for name, said, most in (("floor", "the script", 0.8), ("node-red", "Node-RED", 0.5)):
        for rate in rates if name in named else ():
            found = ratio(named["ours"][f"cpu@{rate}"], named[name][f"cpu@{rate}"])
            goals.append(Goal(target=f"CPU per message at {rate}/s <= {most} of {said}", reached=found.text(), met=found.middle <= most))
    return goals


def _time_goals(named: dict[str, Any], rate: str) -> list[Goal]:
    goals = []
    for key in ("p50", "p99"):
        found = ratio(named["ours"][f"{key}@{rate}"], named["floor"][f"{key}@{rate}"])
        said = f"{key} from publish to command at {rate}/s <= 1.5 of the script"
        goals.append(Goal(target=said, reached=found.text(), met=found.middle <= 1.5))
    return goals


def _loss_goals(loss: list[dict[str, float]]) -> list[Goal]:
    goals = []
    for one, said in zip(loss, ("20,000 messages/s QoS 0", "5,000 messages/s QoS 1, acknowledged after the ledger's commit"), strict=False):
        whole = one["taken"] >= one["sent"] and not one["dropped"] and not one["recorded"] < one["sent"]
        reached = f"{one['taken']:.0f} of {one['sent']:.0f} taken in {one['took']:.1f} s, {one['cpu']:.0f} us of CPU each"
        goals.append(Goal(target=f"no loss at {said}", reached=reached, met=whole))
    return goals


def _row(one: Contender, floor: dict[str, list[float]], rates: tuple[str, str], memory: float) -> tuple[str, ...]:
    found = one.found
    costs = [cell for r in rates for cell in (Spread.of(found[f"cpu@{r}"]).text(), ratio(found[f"cpu@{r}"], floor[f"cpu@{r}"]).text())]
    times = [Spread.of(found[f"{key}@{r}"]).text() for r in rates for key in ("p50", "p99")]
    missing = sum(sum(found[f"missing@{r}"]) for r in rates)
    return (one.what, f"{memory:.0f}", *costs, *times, f"{missing:.0f}")


def _notes(named: dict[str, Any], rate: str, every: list[Contender]) -> list[str]:
    found = ratio(named["ours"][f"p50@{rate}"], named["durable"][f"p50@{rate}"]) if "durable" in named else None
    notes = [f"p50 of ours beside the script that also puts its intent on disk: x{found.text()}."] if found else []
    if len(every) == 2:
        mine, script = every[0].found, every[1].found
        cpu, p50 = ratio(mine["cpu@1000"], script["cpu@1000"]), ratio(mine["p50@1000"], script["p50@1000"])
        each = Spread.of(mine["cpu@1000"])
        notes += [
            f"A window, a run of the model and a decision at *each* message, 1000/s: {each.text('us')} a message, x{cpu.text()} of the script; "
            f"p50 {Spread.of(mine['p50@1000']).text('ms')}, x{p50.text()}.",
            f"Energy: {each.middle:.0f} CPU-seconds for a million decisions of that kind, the script {Spread.of(script['cpu@1000']).middle:.0f}.",
        ]
    return notes
