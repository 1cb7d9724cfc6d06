"""Would the tests of the gate notice a wrong gate? Each source line is bent in turn; every bent gate must be caught.

The gate's modules are parsed, one node at a time is changed, and the changed package is run over the knock-out rows, the
permit's own checks and the values' checks, in this process. A bent gate that answers all of them like the real one survives;
survivors fail the test unless they are named below with the reason why they cannot be told apart.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gate_baseline import BASES, NOW, calling, flips, permitted
from gate_table import ROWS

from edge_agent.execute import gate
from edge_agent.execute.gate import facts as gate_facts
from edge_agent.execute.gate.permit import EXCUSED_ON_RETURN, Permit

HOME = Path(next(iter(gate.__path__)))
MODULES = ("values", "clauses", "guards", "permit")
BENT = "bent_gate"
WORDS_ONLY = frozenset({"fence"})  # functions that only word a reason

# (module, function, what was done to which source) -> why no test can tell
EQUIVALENT: dict[tuple[str, str, str], str] = {}

_FLIPS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip

Bend = tuple[str, Callable[[], None], Callable[[], None]]  # what, do, undo


def bends(node: ast.AST, yes: str | None) -> Iterator[Bend]:
    """Every way to bend this one node, in place."""
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            for other in _FLIPS[type(op)]:
                yield from _swap(node.ops, at, other(), f"{type(op).__name__}->{other.__name__}")
    elif isinstance(node, ast.BoolOp):
        yield from _set(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And(), "and<->or")
        for at in range(len(node.values)):
            yield from _set(node, "values", node.values[:at] + node.values[at + 1 :], f"without operand {at}")
    else:
        yield from _more_bends(node, yes)


def _more_bends(node: ast.AST, yes: str | None) -> Iterator[Bend]:
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield from _set(node, "op", _ARITHMETIC[type(node.op)](), f"{type(node.op).__name__} changed")
    elif isinstance(node, ast.Return) and node.value is not None:
        for constant in _instead_of(node.value, yes):
            yield from _set(node, "value", ast.Constant(constant), f"return {constant!r}")
    elif isinstance(node, ast.If | ast.IfExp):
        for constant in (True, False):
            yield from _set(node, "test", ast.Constant(constant), f"if {constant}")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("any", "all", "min", "max"):
        other = {"any": "all", "all": "any", "min": "max", "max": "min"}[node.func.id]
        yield from _set(node.func, "id", other, f"{node.func.id}->{other}")


def _instead_of(value: ast.expr, yes: str | None) -> tuple[Any, ...]:
    """What to return instead: the opposite that a caller could act on. How a no is worded is not the gate's business."""
    if isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and type(value.value) is str):
        return (yes,)
    if isinstance(value, ast.Constant):
        return ("a no",) if value.value is None else (not value.value,)
    return (yes,) if isinstance(value, ast.Name) and value.id == "why" else ("a no", True, False)


def _constants(node: ast.AST) -> Iterator[Bend]:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        for other in (node.value + 1, node.value - 1):
            yield from _set(node, "value", other, f"{node.value}->{other}")
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield from _set(node, "value", not node.value, f"{node.value}->{not node.value}")
    if isinstance(node, ast.Constant) and type(node.value) is str and " " not in node.value:
        yield from _set(node, "value", node.value + "?", f"{node.value!r}->{node.value + '?'!r}")


def _nots(parent: ast.AST) -> Iterator[Bend]:
    for name, value in ast.iter_fields(parent):
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not):
            yield from _set(parent, name, value.operand, "without not")
        if isinstance(value, list):
            for at, item in enumerate(value):
                if isinstance(item, ast.UnaryOp) and isinstance(item.op, ast.Not):
                    yield from _swap(value, at, item.operand, "without not")


def _set(node: Any, name: str, new: Any, what: str) -> Iterator[Bend]:
    old = getattr(node, name)
    yield what, lambda: setattr(node, name, new), lambda: setattr(node, name, old)


def _swap(items: list[Any], at: int, new: Any, what: str) -> Iterator[Bend]:
    old = items[at]
    yield what, lambda: items.__setitem__(at, new), lambda: items.__setitem__(at, old)


def mutants(tree: ast.Module, yes: str | None) -> Iterator[tuple[str, str, Bend]]:
    """(function, source of the node, bend) for everything that runs; words and annotations are left alone."""
    for function in tree.body:
        if isinstance(function, ast.ClassDef | ast.Import | ast.ImportFrom) or _words(function):
            continue
        name = getattr(function, "name", "module")
        if name in WORDS_ONLY:
            continue
        for node in _running(function):
            source = ast.unparse(node)
            for bend in (*bends(node, yes), *_constants(node), *_nots(node)):
                yield name, source, bend


def _running(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes that decide something: not the words of a reason, not types, not docstrings."""
    waiting: list[ast.AST] = [function]
    while waiting:
        node = waiting.pop()
        yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr) and not _words(child):
                    waiting.append(child)


def _words(node: ast.AST) -> bool:
    if (
        isinstance(node, ast.Return)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and node.value.value != ""
    ):
        return False
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def load(trees: dict[str, ast.Module]) -> dict[str, ModuleType]:
    """Run the (bent) sources as a package of their own; facts and limits are the real ones."""
    package = ModuleType(BENT)
    package.__path__ = []
    sys.modules[BENT] = package
    found = {}
    for name in MODULES:
        module = ModuleType(f"{BENT}.{name}")
        sys.modules[module.__name__] = module
        exec(compile(ast.fix_missing_locations(trees[name]), f"<{name}>", "exec"), module.__dict__)
        found[name] = module
    return found


def parsed() -> dict[str, ast.Module]:
    trees = {}
    for name in MODULES:
        tree = ast.parse((HOME / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in {f"edge_agent.execute.gate.{own}" for own in MODULES}:
                node.module = node.module.replace("edge_agent.execute.gate", BENT)
        trees[name] = tree
    return trees


class Survey:
    """What the real gate answers to everything the tests ask; a bent one is asked the same until it answers otherwise."""

    def __init__(self, real: dict[str, ModuleType]) -> None:
        self.cases = [flips(BASES[base](), changes) for base, changes, _ in ROWS] + [base() for base in BASES.values()] + _odd_cases()
        self.permits = _permits()
        self.values = _value_questions()
        self.expected = [answer for answer, _ in self.answers(real)]

    def answers(self, gate: dict[str, ModuleType]) -> Iterator[tuple[Any, None]]:
        values, permit = gate["values"], gate["permit"]
        for name, arguments in self.values:
            yield _answer(getattr(values, name), arguments), None
        for case in self.cases:
            yield _answer(lambda c: _verdict(permit.evaluate(c.request, c.facts, c.limits)), (case,)), None
        for chain in ([], [("odd", lambda *_: None)], [("odd", lambda *_: "ok")], [("odd", lambda *_: 1 / 0)]):
            case = permitted()
            bare = flips(case, {"facts.own": None})
            for asked in (case, bare, flips(case, {"facts.operator": None})):
                yield _verdict(permit.evaluate(asked.request, asked.facts, asked.limits, chain=chain)), None
        for chain in ([("odd", lambda *_: "ok"), ("model", lambda *_: 1 / 0)], [("model", lambda *_: "no")]):
            case = BASES["return"]()
            yield _verdict(permit.evaluate(case.request, case.facts, case.limits, chain=chain)), None
        for given, use in self.permits:
            yield _answer(lambda g, u: permit.refusal(g, **u) is None, (given, use)), None

    def caught(self, gate: dict[str, ModuleType]) -> bool:
        """Whether any answer differs."""
        return any(answer != expected for (answer, _), expected in zip(self.answers(gate), self.expected, strict=True))


def _answer(ask: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        found = ask(*arguments)
    except Exception as error:  # noqa: BLE001 - a bent gate may raise anything
        return type(error).__name__
    return (type(found).__name__, found)


def _verdict(verdict: Any) -> Any:
    permit = verdict.permit
    bound = permit and (permit.loop, permit.tag, repr(permit.value), permit.precondition, permit.nonce, permit.expires_ns, permit.intent)
    return [(finding.guard, finding.ok) for finding in verdict.findings], verdict.ok, verdict.lockout, bound


def _odd_cases() -> list[Any]:
    changes: list[dict[str, Any]] = [
        {"request.nonce": ""}, {"request.nonce": 7}, {"request.phase": "other"}, {"facts": lambda facts: gate_facts.Facts()},
        {"facts.rival.epoch": None, "facts.rival.newest": 9}, {"facts.operator.other_writer": True, "facts.rival": None},
        {"request.phase": "propose", "facts.own.intent": None},
    ]  # fmt: skip
    return [flips(permitted(), change) for change in changes] + [flips(calling(), {"facts.operator.current": 1.0})]


def _permits() -> list[tuple[Permit, dict[str, Any]]]:
    given = Permit(loop="p1", tag="speed", value=-30.0, precondition=-20.0, nonce="n", expires_ns=NOW + 5, intent=1)
    use = {"loop": "p1", "tag": "speed", "value": -30.0, "current": -20.0, "tolerance": 5.0, "now_ns": NOW}
    changes: list[dict[str, Any]] = [
        {}, {"loop": "p2"}, {"tag": "valve"}, {"value": -40.0}, {"value": -30}, {"now_ns": NOW + 5}, {"now_ns": NOW + 4},
        {"now_ns": NOW + 6},
        {"now_ns": NOW + 5 - 2_000_000_000}, {"now_ns": NOW + 4 - 2_000_000_000}, {"current": -14.9}, {"current": -15.0}, {"current": None},
    ]  # fmt: skip
    found = [(given, {**use, **change}) for change in changes]
    free = copy.replace(given, precondition=None) if hasattr(copy, "replace") else flips(given, {"precondition": None})
    return [*found, (free, {**use, "current": None}), (free, {**use, "current": 99.0})]


def _value_questions() -> list[tuple[str, tuple[Any, ...]]]:
    nan, inf = float("nan"), float("inf")
    plain = [True, None, "1", nan, inf, -inf, 0, 1, -0.0, 2**53, 2**53 + 1, -(2**53), -(2**53) - 1, 10**400, 1.5, (1,)]
    names = ["SByte", "Byte", "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "i8", "u8", "i16", "u16", "i32", "u32"]
    ends = [-(2**31) - 1, -(2**31), -32769, -32768, -129, -128, -1, 0, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31]
    wide = ["Int64", "UInt64", "i64", "u64", "Integer"]
    other = [
        "Float",
        "Double",
        "number",
        "f32",
        "f64",
        "Boolean",
        "bool",
        "String",
        "str",
        "text",
        "json",
        "mqtt",
        "method",
        "odd",
        "",
        None,
        5,
    ]
    pairs = [
        (1.0, 1.5, 0.5),
        (1.0, 1.51, 0.5),
        (1.5, 1.0, 0.5),
        (True, 1, 1.0),
        (True, True, 0.0),
        (True, False, 1.0),
        ("a", "a", 0.0),
        ("a", "b", 9.0),
        (None, None, 9.0),
        ((1,), (1,), 9.0),
        (nan, nan, 1.0),
        (inf, inf, 1.0),
        (1, "1", 9.0),
        (3, 3, 0.0),
    ]
    amounts = [
        (1e-12, 0.0),
        (1.1e-12, 0.0),
        (1e9 + 1.0, 1e9),
        (1e9 + 1.1, 1e9),
        (-1e9 + 1.0, -1e9),
        (-1e9 + 1.1, -1e9),
        (nan, 1.0),
        (1.0, nan),
        (2.0, 2.0),
        (0.1, 0.0),
        (1.0 + 5e-10, 1.0),
        (1.0 + 2e-9, 1.0),
        (1000.0 + 5e-7, 1000.0),
    ]
    steps = [
        (30.0, 10.0),
        (25.0, 10.0),
        (30.000009, 10.0),
        (29.999991, 10.0),
        (30.0001, 10.0),
        (29.9999, 10.0),
        (2.0**53, 1.0),
        (2.0**53 + 2, 1.0),
        (-(2.0**54), 1.0),
        (1e300, 1e-300),
        (-30.0, 10.0),
        (0.3, 0.1),
        (33.0, 10.0),
        (0.0, 0.5),
        (1e-6, 1.0),
        (-1e-6, 1.0),
        (1.0, 0.0),
        (5.000001, 1.0),
    ]
    alike = [
        (1, 1),
        (1, 1.0),
        (True, 1),
        ("a", "a"),
        ((1, "a"), (1, "a")),
        ((1,), (True,)),
        ((1,), (1, 2)),
        ((1, 2), (1,)),
        ((), ()),
        ((1,), 1),
        (1, (1,)),
        ((1, 2), (1, 3)),
        ((1, 2), (0, 2)),
        (nan, nan),
        (1, 2),
    ]
    questions: list[tuple[str, tuple[Any, ...]]] = [("number", (value,)) for value in plain]
    questions += [("carries", (name, end)) for name in names for end in [*ends, 2**32 - 1, 2**32, 0.5, True]]
    questions += [("carries", (name, value)) for name in wide for value in (2**53, 2**53 + 1, -(2**53), 0, -1, 0.5)]
    questions += [("carries", (name, value)) for name in other for value in (1.5, 1, True, "a", nan, None)]
    questions += [("same", pair) for pair in pairs] + [("at_most", pair) for pair in amounts] + [("multiple", pair) for pair in steps]
    questions += [("between", (value, *pair)) for value in (0.9, 1.0, 2.0, 3.0, 3.1, nan) for pair in ((1.0, 3.0), (3.0, 1.0), (1.0, nan))]
    return questions + [("identical", pair) for pair in alike]


def test_the_gate_run_from_its_source_answers_as_the_imported_one() -> None:
    survey = Survey(load(parsed()))
    assert not survey.caught(load(parsed()))
    for (base, changes, guards), case in zip(ROWS, survey.cases, strict=False):
        verdict = load_verdict(case)
        excused = EXCUSED_ON_RETURN if base == "return" else frozenset()
        assert " ".join(name for name, ok in verdict if not ok and name not in excused) == guards, changes


def load_verdict(case: Any) -> list[tuple[str, bool]]:
    found = sys.modules[f"{BENT}.permit"].evaluate(case.request, case.facts, case.limits)
    return [(finding.guard, finding.ok) for finding in found.findings]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MODULES)
def test_every_bent_gate_is_caught(name: str) -> None:
    trees = parsed()
    survey = Survey(load(trees))
    survivors, used, count = [], set(), 0
    for function, source, (what, do, undo) in list(mutants(trees[name], None if name == "permit" else "ok")):
        do()
        try:
            caught = survey.caught(load(trees))
        except Exception:  # noqa: BLE001 - a gate that does not even load is noticed by every test
            caught = True
        finally:
            undo()
        count += 1
        key = (name, function, f"{what}: {source}")
        if caught:
            continue
        used.add(key)
        if key not in EQUIVALENT:
            survivors.append(key)
    assert not survivors, f"{len(survivors)} of {count} survived:\n" + "\n".join(map(repr, survivors))
    assert {key for key in EQUIVALENT if key[0] == name} <= used, "named as equivalent, yet caught or gone"
    assert count > 30
