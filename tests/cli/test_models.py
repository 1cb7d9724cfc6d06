"""Does `edge-agent models` say what it did, and refuse with exit code 4 and the reason?"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli import root
from edge_agent.errors import ModelRefused

SHIPPED = Path(__file__).parents[2] / "models" / "demo-pump"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "demo-pump"
    shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns("manifest.sig"))
    return folder


def run(*words: Any) -> Result:
    return CliRunner().invoke(root, ["models", *map(str, words)], catch_exceptions=True)


def said(*words: Any) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_the_whole_way_from_key_to_rollback(bundle: Path, tmp_path: Path) -> None:
    keys, models = tmp_path / "keys", tmp_path / "models"
    made = said("keygen", "acme", "--into", keys)
    assert said("sign", bundle, "--key", made["private"])["key"] == made["key"]
    assert said("verify", bundle, "--trust", keys)["signed_by"] == "acme"
    archive = tmp_path / "pump.tar.zst"
    assert said("pack", bundle, "--into", archive)["bytes"] == archive.stat().st_size
    found = said("install", archive, "--models", models, "--trust", keys)
    assert found["tier"] == 1
    assert [m["name"] for m in said("list", "--models", models)] == ["demo-pump"]
    assert run("rollback", "demo-pump", "--models", models).exit_code == 1


def test_inspect_shows_roles_use_and_figures(bundle: Path, tmp_path: Path) -> None:
    found = said("inspect", bundle, "--trust", tmp_path)
    assert found["model"].startswith("demo-pump@")
    assert found["signed_by"] is None
    text = run("inspect", bundle, "--trust", tmp_path).output
    assert found["roles"][0]["role"] in text
    assert found["intended"]["use"] in text


def test_bench_measures_both_models(bundle: Path, tmp_path: Path) -> None:
    found = said("bench", bundle, "--runs", 10, "--trust", tmp_path)
    assert {"model", "fp32", "faster", "grid", "choice"} <= found.keys()
    assert "p99" in run("bench", bundle, "--runs", 10, "--trust", tmp_path).output


def test_a_refusal_is_said_in_json_too(bundle: Path, tmp_path: Path) -> None:
    result = run("verify", bundle, "--trust", tmp_path, "--json")
    assert isinstance(result.exception, ModelRefused)
    reply = json.loads(result.output)
    assert reply["ok"] is False
    assert "not signed by a trusted key" in reply["refused"]


def test_a_refusal_is_one_line_and_exit_code_4(bundle: Path, tmp_path: Path) -> None:
    with (bundle / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "models", "verify", str(bundle), "--dev", "--trust", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 4
    assert done.stderr.strip() == f"{bundle}/model.onnx: is not what the manifest says (size or hash); install the bundle again"


def test_the_list_shows_bundles_that_just_lie_there_and_says_so_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "pump").mkdir()
    (tmp_path / "pump" / "manifest.json").write_text("{}")
    assert "pump                     (a bundle, not installed)" in run("list", "--models", tmp_path).output
    assert "no model; `edge-agent models install` brings one" in run("list", "--models", tmp_path / "x").output
