"""The JSON Schema and the reference page say what the models say."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge_agent import plugin
from edge_agent.config import reference, schema, yaml
from edge_agent.config.tree import plain

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return schema.compose()


def test_the_schema_that_is_checked_in_is_fresh() -> None:
    assert (ROOT / "configs" / "edge-agent.schema.json").read_text() == schema.text(), "run: edge-agent schema --write"


def test_the_reference_page_that_is_checked_in_is_fresh() -> None:
    assert (ROOT / "docs" / "config.md").read_text() == reference.text(), "run: edge-agent schema --write"


def test_it_is_a_json_schema(whole: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(whole)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda file: file.name)
def test_every_sample_fits_the_schema(file: Path, whole: dict[str, Any]) -> None:
    root, problems = yaml.read(file.read_text(), file.name)
    assert root is not None, problems
    wrong = [e for e in jsonschema.Draft202012Validator(whole).iter_errors(plain(root)) if "!env" not in str(e.instance)]
    assert not wrong, wrong[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_age: 3 s", "max_age: 3"),
        ("type: mqtt", "type: mqqt"),
        ("policy: rules", "policy: rulez"),
        ("tier: 1", "tier: 3"),
        ("owner: acme", "ownr: a"),
    ],
)
def test_what_the_loader_refuses_the_schema_refuses_too(old: str, new: str, good: str, whole: dict[str, Any]) -> None:
    check = jsonschema.Draft202012Validator(whole)
    root, _ = yaml.read(good, "a.yaml")
    assert root is not None
    assert check.is_valid(plain(root))
    root, _ = yaml.read(good.replace(old, new), "a.yaml")
    assert root is not None
    assert not check.is_valid(plain(root))


def test_every_plug_in_is_in_the_schema(whole: dict[str, Any]) -> None:
    found = whole["properties"]["connectors"]["additionalProperties"]["discriminator"]["mapping"]
    assert list(found) == plugin.names("connector")
    assert list(whole["$defs"]["Loop"]["properties"]["decide"]["discriminator"]["mapping"]) == plugin.names("policy")


def test_every_reference_leads_somewhere(whole: dict[str, Any]) -> None:
    text = json.dumps(whole)
    for part in text.split('"#/$defs/')[1:]:
        assert part.split('"')[0] in whole["$defs"]


def test_defaults_stand_there_as_one_would_write_them(whole: dict[str, Any]) -> None:
    assert whole["$defs"]["Perceive"]["properties"]["max_gap"]["default"] == "3 s"
    assert whole["$defs"]["Ledger"]["properties"]["max_size"]["default"] == "2 GB"
