"""`python -m bench [--quick] [--write FILE] [pipe opcua ...]`: run the benches, each in a process of its own with a time-out."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import page
from bench.report import Section

# what it is about, seconds it may take (quick, whole)
BENCHES = {
    "pipe": ("from an MQTT message to a command", 60, 330),
    "opcua": ("OPC UA changes, and from an event to a verified write", 80, 140),
    "worker": ("what the killable worker adds", 40, 70),
    "scale": ("a thousand loops", 90, 190),
    "footprint": ("memory, idle, start", 60, 100),
    "ledger": ("append, chain, pull", 40, 80),
    "replay": ("a week of one loop again; a month of what-if", 45, 120),
    "vision": ("from a picture to the gate", 90, 110),
    "soak": ("does memory grow over a day?", 30, 80),
}
QUICK = ("pipe", "worker", "ledger", "replay")
KEPT = Path(".venv/bench")  # what each bench found last: a run that broke off goes on with --resume


def main() -> None:
    """Run each bench; print and write what they found. A figure is no verdict: the exit code is 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", nargs="*", help="; ".join(f"{name}: {about}" for name, (about, *_) in BENCHES.items()))
    parser.add_argument("--quick", action="store_true", help="fewer rounds and no peers; some benches only")
    parser.add_argument("--resume", action="store_true", help="take what an earlier run of the last two hours has found already")
    parser.add_argument("--write", type=Path, help="write the page with all of it there")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)  # we are the process of one bench
    wanted = parser.parse_args()
    if odd := [name for name in wanted.bench if name not in BENCHES]:
        parser.error(f"there is no bench {', '.join(odd)}; there are {', '.join(BENCHES)}")
    names = wanted.bench or (QUICK if wanted.quick else tuple(BENCHES))
    if wanted.inside:
        _one(names[0], wanted.inside, quick=wanted.quick)
        return
    begin = time.monotonic()
    KEPT.mkdir(parents=True, exist_ok=True)
    found = {name: _found(name, quick=wanted.quick, resume=wanted.resume) for name in names}
    print(f"{time.monotonic() - begin:.0f} s in all")
    if wanted.write:
        for name in BENCHES:  # one bench run again does not empty the page of the others
            found.setdefault(name, _read(KEPT / f"{name}.json") or _failed(name, "was not run"))
        wanted.write.write_text(page.text([found[name] for name in BENCHES], time.monotonic() - begin))


def _found(name: str, *, quick: bool, resume: bool) -> Section:
    file = KEPT / f"{name}{'-quick' if quick else ''}.json"
    if resume and file.exists() and time.time() - file.stat().st_mtime < 7200 and (section := _read(file)):
        return section
    file.unlink(missing_ok=True)
    about, *limits = BENCHES[name]
    begin = time.monotonic()
    why = _run(name, file, limits[0] if quick else limits[1], quick=quick)
    section = _read(file) or _failed(name, why or f"{about}: ended without a word")
    print(section.text(), end="\n\n", flush=True)
    print(f"({name}: {time.monotonic() - begin:.0f} s)\n", flush=True)
    return section


def _run(name: str, file: Path, limit_s: float, *, quick: bool) -> str:
    """Why it found nothing; empty if it did not fail."""
    command = [sys.executable, "-m", "bench", name, "--inside", str(file), *(["--quick"] if quick else [])]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        said = process.communicate(timeout=limit_s)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 15)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
        return f"did not end within {limit_s:g} s"
    lines = said.strip().splitlines()
    return f"failed: {lines[-1] if lines else process.returncode}" if process.returncode else ""


def _one(name: str, file: Path, *, quick: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-bench-"))
    try:
        section = importlib.import_module(f"bench.{name}").run(folder, quick=quick)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    file.write_text(json.dumps(dataclasses.asdict(section)))


def _read(file: Path) -> Section | None:
    try:
        return Section.of(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _failed(name: str, why: str) -> Section:
    return Section(title=BENCHES[name][0], about=f"**No figures: {why}.**")


if __name__ == "__main__":
    main()
