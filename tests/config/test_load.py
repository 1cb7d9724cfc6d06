"""From a file to a checked configuration."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
from pydantic import BaseModel

from edge_agent import plugin
from edge_agent.config import effective, model
from edge_agent.config.load import Configuration
from edge_agent.config.types import Model
from edge_agent.errors import ConfigError, Problem

Right = Callable[[str], Configuration]
Wrong = Callable[..., list[Problem]]


def test_values_come_in_si_units_and_by_the_plug_ins_own_models(right: Right, good: str) -> None:
    configuration = right(good)
    assert configuration.tags["flow"].max_age == 3.0
    assert configuration.tags["flow"].range == (0.0, 60.0)
    assert type(configuration.tags["flow"]).__module__ == "connectors.opcua"
    assert configuration.connectors["bus"].url == "mqtt://127.0.0.1:1883"  # type: ignore[attr-defined]
    assert configuration.policies["p1"].policy == "rules"  # type: ignore[attr-defined]
    assert configuration.file.loops["p1"].execute["speed"].rate == 50 / 60


def test_a_loop_observes_unless_it_says_more(right: Right, good: str) -> None:
    assert right(good.replace("    mode: advise\n", "")).file.loops["p1"].mode == "observe"


def test_the_hash_changes_with_the_meaning_and_not_with_the_spelling(right: Right, good: str) -> None:
    first = right(good).hash
    assert right("# a comment\n" + good.replace("max_age: 3 s", "max_age: 3000 ms").replace("[0, 60]", "[0.0, 60.0]")).hash == first
    assert right(good.replace("max_age: 3 s", "max_age: 4 s")).hash != first
    assert right(good.replace("[-300, 300]", "[-301, 300]")).hash != first
    assert right(good.replace("score > 0.8", "score > 0.7")).hash != first


def test_a_configuration_cannot_be_changed(right: Right, good: str) -> None:
    configuration = right(good)
    with pytest.raises(AttributeError):
        configuration.hash = ""  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        configuration.file.agent.name = "x"


def test_it_can_say_where_something_stands(right: Right, good: str) -> None:
    assert right(good).at("loops", "p1", "execute", "speed", "limits").endswith(":25:9: loops.p1.execute.speed.limits")


def test_what_comes_out_as_effective_means_the_same(right: Right, good: str) -> None:
    configuration = right(good)
    again = right(effective.text(configuration))
    assert again.hash == configuration.hash
    assert "within: 20 s" in effective.text(configuration)


def test_a_missing_bundle_is_a_warning_until_the_loop_is_armed(loaded: Callable[..., Configuration], good: str) -> None:
    assert "no model bundle `some-model`" in loaded(good).warnings[0].what
    with pytest.raises(ConfigError, match="no model bundle `some-model`"):
        loaded(good.replace("mode: advise", "mode: armed"))
    assert not loaded(good.replace("mode: advise", "mode: 'off'")).warnings


def test_a_bundle_beside_the_file_is_found(loaded: Callable[..., Configuration], good: str, tmp_path: Path) -> None:
    (tmp_path / "models" / "some-model").mkdir(parents=True)
    (tmp_path / "models" / "some-model" / "card.yaml").write_text("name: x\n")
    assert not loaded(good.replace("mode: advise", "mode: armed")).warnings


@pytest.mark.parametrize("node", ["s=P1.E-Stop", "s=SafetyReset", "s=Line.NotAus", "s=LightCurtain.Mute", "s=P1.急停"])
def test_a_writable_address_that_smells_of_safety_is_a_warning(node: str, right: Right, good: str) -> None:
    (warning,) = right(good.replace("s=P1.SpeedTrim", node)).warnings
    assert warning.path == "tags.speed.write"
    assert "safety" in warning.what


def test_an_unknown_unit_is_a_warning_with_a_suggestion(right: Right, good: str) -> None:
    (warning,) = right(good.replace("unit: l/min", "unit: l/minn")).warnings
    assert (warning.path, "l/min" in warning.cure) == ("tags.flow.unit", True)


def test_a_connector_that_nothing_uses_is_a_warning(right: Right, good: str) -> None:
    (warning,) = right(good.replace("  bus:", '  spare: {type: mqtt, url: "mqtt://127.0.0.1:1"}\n  bus:')).warnings
    assert warning.path == "connectors.spare"


def test_warnings_come_with_errors_too(good: str, wrong: Wrong) -> None:
    from edge_agent.config.load import parse

    with pytest.raises(ConfigError) as caught:
        parse(good.replace("unit: l/min", "unit: l/minn").replace("tier: 1", "tier: 3"), environment={})
    assert len(caught.value.warnings) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("response: {tag: flow,", "response: {tag: speed,", "no answer of the process"),
        ("step: 10", "base: speed", "cannot be its own base"),
        ("step: 10", "lease: {tag: flow}", "lease counter `flow` may not be written"),
        ("step: 10", "budget: {change: 1, per: 1 h}\n        step: 10", "less than one step"),
        ("step: 10", "max_step: 5\n        step: 10", "max_step 5 is smaller than step 10"),
        ("step: 10", "step: 7\n        neutral: 5", "no multiple of step"),
        ("limits: [-300, 300]", "limits: [-300, 300]\n        values: [1]", "together"),
        ("every: 1 s", "every: 1 s, follow: flow", "together"),
        ("every: 1 s, ", "", "neither `every` nor `follow`"),
        ("[flow, vib]", "[flow, flow]", "stands here twice"),
        ("tier: 1\n", "tier: 2\n    rearm: auto\n", "never re-arms by itself"),
        ("mode: advise\n    tier: 1", "mode: armed\n    tier: 1\n    rearm: never", "not allowed"),
        ("model: some-model}", "model: some-model, roles: {a: running}}", "no channel of this loop `running`"),
        ("[0, 60]", "[60, 0]", "not below the upper end"),
        ("every: 1 s", "every: 0 s", "0 s apart"),
    ],
)
def test_what_does_not_fit_together_is_told(old: str, new: str, said: str, wrong: Wrong) -> None:
    assert any(said in p.what for p in wrong(old, new)), wrong(old, new)


def test_one_lease_counter_serves_one_loop(wrong: Wrong, good: str) -> None:
    text = good.replace(
        "tags:\n", 'tags:\n  beat: {from: plc, node: "nsu=x;s=b", write: true}\n  other: {from: plc, node: "nsu=x;s=o", write: true}\n', 1
    )
    text = text.replace("step: 10", "step: 10\n        lease: {tag: beat}")
    loop = text[text.index("  p1:\n") :].replace("  p1:", "  p2:", 1).replace("speed", "other")
    (problem,) = wrong(text + loop)
    assert (problem.path, "`beat` is written by the loop `p1` already" in problem.what) == ("loops.p2.execute.other.lease.tag", True)


def test_a_switch_needs_values_and_no_limits(right: Right, good: str) -> None:
    block = good[good.index("        limits:") :]
    text = good.replace(block, "        values: [true, false]\n").replace("trim: {speed: -200}", "set: {speed: true}")
    assert right(text).file.loops["p1"].execute["speed"].values == [True, False]


# ---------------------------------------------------------------- plug-ins of strangers


class _Config(Model):
    type: Literal["strange"]
    user: str | None = None
    security: "_Security"


class _Security(Model):
    policy: str


class _Tag(model.Tag):
    coil: int


_Config.model_rebuild()


class _ReadOnly:
    pass


class _Writes:
    async def write(self) -> None: ...


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("strange")
    module.Config, module.Tag, module.Connector = _Config, _Tag, _Writes  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "strange", module)
    point = EntryPoint("strange", "strange", "edge_agent.connector")
    broken = EntryPoint("broken", "no_such_module_at_all", "edge_agent.connector")

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [p for p in (point, broken) if p.group == group and name in (None, p.name)]

    monkeypatch.setattr(plugin, "entry_points", entry_points)
    return module


PLC = '{type: opcua, url: "opc.tcp://10.0.0.5:4840"}'


def _strange(good: str, config: str) -> str:
    text = good.replace(PLC, config)
    for node in ("P1.Flow", "P1.Running", "P1.SpeedTrim"):
        text = text.replace(f'node: "nsu=urn:plant;s={node}"', "coil: 5")
    return text


def test_a_strangers_connector_is_checked_by_its_own_models(stranger: ModuleType, right: Right, wrong: Wrong, good: str) -> None:
    text = _strange(good, "{type: strange, security: {policy: Basic256Sha256}}")
    assert right(text).tags["flow"].coil == 5  # type: ignore[attr-defined]
    (problem,) = wrong(text.replace("coil: 5", "coill: 5", 1))
    assert (problem.path, problem.cure) == ("tags.flow.coill", "did you mean `coil`?")


def test_a_tag_behind_a_password_in_clear_is_never_a_write_target(stranger: ModuleType, wrong: Wrong, good: str) -> None:
    (problem,) = wrong(_strange(good, "{type: strange, user: u, security: {policy: None}}"))
    assert (problem.path, "never a write target" in problem.what) == ("loops.p1.execute.speed", True)


def test_a_tag_of_a_connector_that_only_reads_cannot_be_written(stranger: ModuleType, wrong: Wrong, good: str) -> None:
    stranger.Connector = _ReadOnly  # type: ignore[attr-defined]
    (problem,) = wrong(_strange(good, "{type: strange, security: {policy: x}}"))
    assert (problem.path, "can only read" in problem.what) == ("tags.speed.write", True)


def test_a_plug_in_that_cannot_be_imported_is_a_problem_of_the_configuration(stranger: ModuleType, wrong: Wrong, good: str) -> None:
    (problem,) = wrong(good.replace("type: mqtt", "type: broken"))
    assert "cannot be loaded: No module named 'no_such_module_at_all'" in problem.what


# ---------------------------------------------------------------- lean


def test_the_connectors_modules_bring_no_protocol_library() -> None:
    heavy = "('asyncua', 'paho', 'cryptography', 'onnxruntime', 'cv2')"
    load = "import sys; from edge_agent import plugin; [plugin.load('connector', n) for n in plugin.names('connector')]"
    code = f"{load}; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_loading_a_configuration_needs_no_numpy(good: str) -> None:
    code = "import sys; from edge_agent.config.load import parse; parse(sys.stdin.read(), environment={}); print('numpy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], input=good, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_every_model_is_strict_and_closed() -> None:
    for name, kind in vars(model).items():
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            assert kind.model_config.get("strict"), name
            assert kind.model_config.get("extra") == "forbid", name
            assert kind.model_config.get("allow_inf_nan") is False, name


def test_an_armed_loop_without_its_bundle_is_only_a_warning_where_something_stands_in(
    loaded: Callable[..., Configuration], wrong: Wrong, good: str
) -> None:
    stands_in = good.replace("mode: advise", "mode: armed").replace(
        "some-model}", "some-model, fallback: [{rule: flow > 14}, {model: other}]}"
    )
    found = [w.what for w in loaded(stands_in).warnings]
    assert any("`some-model`" in what for what in found)
    assert any("`other`" in what for what in found)
    (problem,) = wrong(stands_in.replace("flow > 14", "fluw > 14"))
    assert "did you mean" in str(problem)
    assert problem.path.endswith("fallback[0].rule")
