"""What is promised, and what did the last long run reach? Makes docs/promises.md of this table and docs/promises.json.

python -m tests.fault.promises [--check]        --check only says whether the page is fresh

A figure belongs to the row whose name its own begins with: "power cut, control normal" to "power cut".
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
FIGURES, PAGE = ROOT / "docs" / "promises.json", ROOT / "docs" / "promises.md"
CONTROL = ", control"


class Promise(NamedTuple):
    """One row."""

    name: str
    said: str


PROMISES = (
    Promise(
        "process kill", "500 x SIGKILL of control, worker and API at random: nothing acknowledged is lost, no gap in seq, the chain holds"
    ),
    Promise("power cut", "500 cuts of the mains (torn writes, any order since the last flush): nothing acknowledged is lost or damaged"),
    Promise("exactly once in the pool", "puller and agent killed 500 times, 1 % of the replies dropped: nothing missing, nothing twice"),
    Promise("disk trouble", "full, read-only, I/O errors, no inodes, file removed: no crash, holds and says why, recovers within 10 s"),
    Promise(
        "bit flips", "10,000 flipped bits in the ledger's files: each is noticed or harmless; what is damaged is set aside, never deleted"
    ),
    Promise(
        "bounded disk", "never above the limit plus one segment; the oldest unlabelled goes first; 100,000 random steps against a model"
    ),
    Promise("weeks offline", "30 days without a puller, then a drain: order kept, live latency p99 below twice the usual"),
    Promise("everything absent", "nothing else is there at the start: ready in 10 s, no exit, each link up within 5 s of its peer"),
    Promise("network", "200 cuts of every kind: each missing value lies inside a declared gap, no call hangs, recovery within 5 s"),
    Promise("own crash", "SIGKILL of control, away 12 s and 40 s: the old OPC UA subscription goes on; beyond its queue a declared gap"),
    Promise("server back", "data flows within 2 s after a server or broker is ready again, worst of 50"),
    Promise("MQTT inbound", "20,000 QoS 1 messages, 15 kills: none lost"),
    Promise("flood", "50 times the usual for 10 minutes: memory bounded, control tick p99 below twice the usual, drops counted exactly"),
    Promise("bad data", "10,000,000 evaluations of the gate and 100,000 random steps: no write outside the envelope"),
    Promise("bad input", "a million of each kind of malformed input: no crash, no hang above 100 ms"),
    Promise("hangs", "50 hangs of every kind: the PLC falls back within 3 heartbeats, restart within 25 s"),
    Promise(
        "clock", "steps of -1 h, +1 day, -10 years, boot in 1970 and 2038: no wrong order, no loss, nothing falsely stale, writes wait"
    ),
    Promise("write protocol", "a PLC that misbehaves, the link cut at each step: no late write, no blind retry, every intent has an end"),
    Promise("operator first", "1000 overrides at random moments: no write after one"),
    Promise("model supply", "1000 changes of a signed bundle: none accepted"),
    Promise("silence", "a full run under strace: no connection to anybody who is not configured, no file outside the state folder"),
    Promise("service", "the unit under the real systemd: notify, watchdog, restart, DynamicUser, credentials, read-only system"),
    Promise("upgrade", "100 kills in a migration: nothing damaged; a newer ledger is refused untouched"),
    Promise("black box", "the last minutes of samples and decisions, bounded, readable after a crash"),
    Promise("soak", "random faults for hours: no growth of files, threads or memory, no obligation left open"),
)


def row_of(promise: str) -> str:
    """The row that a figure belongs to."""
    return re.split(r"[,:] ", promise)[0]


def main() -> None:
    page = render(json.loads(FIGURES.read_text()))
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page else f"{PAGE.name} is not fresh: run `python -m tests.fault.promises`")
    PAGE.write_text(page)


def render(found: Mapping[str, Any]) -> str:
    """The page."""
    tests = found["tests"]
    days = sorted({entry["day"] for entry in tests.values()})
    seconds = sum(entry["seconds"] for entry in tests.values())
    lines = [
        "# What is promised, and what was reached",
        "",
        "Made by `make torture` from [promises.json](promises.json); the table stands in `tests/fault/promises.py`. Every control is",
        "the same test with a guard taken away, and has to fail: else the fault does not bite. A row is only as good as its last run.",
        "",
        f"Run on {found['machine']}, {days[0]} to {days[-1]}; {seconds / 60:.0f} minutes of tests, in two lanes.",
        "",
        "| promise | asked | reached | control |",
        "|---|---|---|---|",
        *(f"| **{promise.name}** | {promise.said} | {' <br> '.join(reached(tests, promise.name, control=False)) or 'not run'} "
          f"| {' <br> '.join(reached(tests, promise.name, control=True)) or '-'} |" for promise in PROMISES),
        "",
    ]  # fmt: skip
    failed = [name for name, entry in sorted(tests.items()) if entry["outcome"] != "passed"]
    lines += ["Tests that did not pass:", "", *(f"- `{name}`: {tests[name]['outcome']}" for name in failed), ""] if failed else []
    return "\n".join(lines)


def reached(tests: Mapping[str, Any], row: str, *, control: bool) -> Iterator[str]:
    """What the tests of a row said, each once."""
    for entry in tests.values():
        for promise, numbers in entry["figures"]:
            if row_of(promise) == row and (CONTROL in promise) == control:
                rest = promise.removeprefix(row).removeprefix(CONTROL).lstrip(",: ")
                figures = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in numbers.items())
                said = f"{rest}: {figures}" if rest else figures
                yield said if entry["outcome"] == "passed" else f"**{entry['outcome']}** {said}"


if __name__ == "__main__":
    main()
