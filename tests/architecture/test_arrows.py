"""Which way do imports point? The house of docs/flow.md, held against the code itself."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).parents[2]
LINKS = frozenset({"perceive", "diagnose", "decide", "execute", "feedback"})
GROUND = ("messages", "contracts", "errors", "clock", "plugin", "config", "places", "units")  # what any link may use
STDLIB_ONLY = ("edge_agent.execute.gate",)
PURE = ("edge_agent.perceive", "edge_agent.decide", "edge_agent.execute.gate", "edge_agent.feedback.keep")
NOT_PURE = {"asyncio", "logging", "time", "random", "os", "threading", "socket", "secrets", "datetime", "subprocess", "sqlite3", "uuid"}
BUILDERS = {  # who may know more than two links, and why
    "edge_agent.agent": "puts the parts of each loop together and keeps them",
    "edge_agent.app": "builds each part from its section of the configuration",
    "edge_agent.choice": "builds what diagnoses a loop: one model, several, or a stand-in",
    "edge_agent.offline": "builds the thinking links for a replay",
}
CLOCKS = {
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "sleep",
    "now",
    "today",
    "utcnow",
}
OWN_TIME = {  # who may look at the machine's clock besides edge_agent/clock.py, and why
    "edge_agent.recording": "the writer thread puts its file on disk once a second; nothing it writes depends on that",
    "edge_agent.diagnose.child": "the worker's child measures its own runs; it has no clock of the agent's",
    "edge_agent.lifecycle.bench": "a benchmark measures the machine",
    "edge_agent.lab.timing": "a benchmark measures the machine",
    "edge_agent.cli.test": "says how long the tests took",
}
CHANCE = {  # who may use randomness that is not seeded by the record, and why
    "edge_agent.execute.steps": "a permit's nonce",
    "edge_agent.camera.eye": "jitter of the back-off",
    "edge_agent.mqtt.commands": "a command's nonce",
    "edge_agent.mqtt.envelope": "a command's nonce",
    "edge_agent.mqtt.session": "jitter of the back-off",
    "edge_agent.opcua.link": "jitter of the back-off",
}
HEAVY = ("asyncua", "onnxruntime", "paho", "cv2", "starlette", "uvicorn", "pyarrow", "prometheus_client", "httpx", "zstandard", "onnx")


class Import(NamedTuple):
    """One module names another; `lazy` if inside a function."""

    of: str
    lazy: bool


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of ours, by its dotted name."""
    files = [file for package in ("edge_agent", "connectors") for file in (CHECKOUT / package).rglob("*.py")]
    return {_name(file): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def _name(file: Path) -> str:
    parts = file.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(module: str) -> frozenset[Import]:
    """What a module imports, where it runs: what only type checkers see is left out."""
    return frozenset(_found(modules()[module].body, lazy=False))


def _found(nodes: list[ast.stmt], *, lazy: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _found(node.orelse, lazy=lazy)
        elif isinstance(node, ast.Import):
            yield from (Import(alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (Import(name if name in modules() else str(node.module), lazy) for name in names)
        else:
            inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for field in ("body", "orelse", "finalbody"):
                yield from _found(getattr(node, field, []), lazy=inside)
            for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
                yield from _found(part.body, lazy=inside)


def link(module: str) -> str | None:
    """The link that a module belongs to."""
    first, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return name if first == "edge_agent" and name in LINKS else None


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_the_five_links_are_strangers_to_each_other() -> None:
    seen = [(m, i.of) for m in modules() if link(m) for i in imports(m) if link(i.of) and link(i.of) != link(m)]
    assert not seen


def test_a_link_stands_on_the_ground_and_on_nothing_else_of_ours() -> None:
    ground = ("edge_agent", *(f"edge_agent.{name}" for name in GROUND))
    above = [
        (m, i.of)
        for m in modules()
        if (mine := link(m))
        for i in imports(m)
        if i.of.startswith(("edge_agent.", "connectors")) and link(i.of) != mine and not within(i.of, ground[1:])
    ]
    assert not above


def test_the_gate_is_the_standard_library_and_itself() -> None:
    strange = [
        (m, i.of)
        for m in modules()
        if within(m, STDLIB_ONLY)
        for i in imports(m)
        if not within(i.of, STDLIB_ONLY) and i.of.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert not strange


def test_the_pure_parts_know_no_time_no_chance_and_no_outside_world() -> None:
    impure = [(m, i.of) for m in modules() if within(m, PURE) for i in imports(m) if i.of.partition(".")[0] in NOT_PURE]
    opened = [m for m in modules() if within(m, PURE) for node in ast.walk(modules()[m]) if _calls(node, {"open", "print", "input"})]
    assert not impure
    assert not opened


def test_connectors_know_nothing_of_the_links() -> None:
    assert not [(m, i.of) for m in modules() if within(m, ("connectors",)) for i in imports(m) if link(i.of)]


def test_the_protocols_of_devices_know_nothing_of_the_links_either() -> None:
    packages = ("edge_agent.mqtt", "edge_agent.opcua")
    assert not [(m, i.of) for m in modules() if within(m, packages) for i in imports(m) if link(i.of)]


def test_only_the_builders_know_more_than_two_links() -> None:
    known = {m: {link(i.of) for i in imports(m)} - {None} for m in modules() if not link(m)}
    assert {m for m, links in known.items() if len(links) > 2} == set(BUILDERS)


def test_only_the_loop_names_all_five_as_one() -> None:
    fields = {
        m: {n.target.id for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
        for m, tree in modules().items()
    }
    classes = {m: fields[m] >= LINKS for m in fields}
    assert [m for m, five in classes.items() if five and m != "edge_agent.config.model"] == ["edge_agent.loop"]


def test_the_web_cannot_touch_the_plant() -> None:
    plant = (
        "connectors",
        "edge_agent.mqtt",
        "edge_agent.opcua",
        "edge_agent.execute",
        "edge_agent.decide",
        "edge_agent.agent",
        "edge_agent.app",
    )
    assert not [(m, i.of) for m in modules() if within(m, ("edge_agent.api",)) for i in imports(m) if within(i.of, plant)]


def test_nothing_imports_in_a_circle() -> None:
    edges = {m: {i.of for i in imports(m) if i.of in modules()} for m in modules()}
    while leaves := [m for m, of in edges.items() if not of]:
        edges = {m: of.difference(leaves) for m, of in edges.items() if m not in leaves}
    assert not edges


def test_only_the_clock_asks_the_machine_for_the_time() -> None:
    asking = {m for m, tree in modules().items() if m != "edge_agent.clock" for node in ast.walk(tree) if _asks_time(node)}
    assert asking == set(OWN_TIME)


def test_chance_is_used_where_a_reason_is_given() -> None:
    using = {m for m in modules() for i in imports(m) if i.of in ("random", "secrets")}
    assert {m for m in using if not within(m, ("edge_agent.demo",))} == set(CHANCE)


def test_only_the_actuator_writes_to_a_device() -> None:
    writing = {
        m
        for m, tree in modules().items()
        if link(m)
        for node in ast.walk(tree)
        if isinstance(node, ast.Await)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in ("write", "call")
        and "port" in ast.unparse(node.value.func.value)
    }
    assert writing == {"edge_agent.execute.actuator", "edge_agent.execute.lease"}  # the lease: the heartbeat, which is no value


@pytest.mark.parametrize("what", ["edge_agent.cli", "edge_agent.config.load", "edge_agent.plugin", "connectors"])
def test_importing_it_brings_no_heavy_library(what: str) -> None:
    load = "import sys, json, importlib, edge_agent.plugin as p; [p.load('connector', n) for n in p.names('connector')]"
    code = f"{load if what == 'connectors' else f'import sys, json, {what}'}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT, timeout=30)
    assert not {name.partition(".")[0] for name in json.loads(done.stdout)} & set(HEAVY)


def _calls(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _asks_time(node: ast.AST) -> bool:
    """time.monotonic, datetime.datetime.now, `from time import monotonic`."""
    if isinstance(node, ast.ImportFrom) and node.module == "time":
        return True
    if not isinstance(node, ast.Attribute) or node.attr not in CLOCKS:
        return False
    return ast.unparse(node.value) in ("time", "datetime", "datetime.datetime", "datetime.date", "date")
