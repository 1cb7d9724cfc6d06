"""edge-agent test: does the configuration decide what its technician expects? Runs the `tests:` block; touches nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent import plugin
from edge_agent.cli.output import json_option
from edge_agent.errors import ConfigError, Problem

if TYPE_CHECKING:
    from edge_agent.config.load import Configuration
    from edge_agent.decide.scenario import Case, Failure


@click.command("test", short_help="Run the tests inside a configuration")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--only", default="", help="Run the tests whose name holds these words.")
@json_option
def command(files: Sequence[Path], only: str, as_json: bool) -> None:
    """Run the tests inside configurations: made-up diagnoses in, decisions out. Exit 1 if one is not as expected."""
    started = time.perf_counter()
    results = [result for file in files for result in _results(file, only)]
    failed = [r for r in results if r["failures"]]
    if as_json:
        click.echo(json.dumps({"ok": not failed and bool(results), "tests": results}, indent=1))
    else:
        for result in results:
            _print(result)
        took_ms = (time.perf_counter() - started) * 1e3
        click.echo(f"{len(results) - len(failed)} passed, {len(failed)} failed in {took_ms:.0f} ms" if results else "there are no tests")
    sys.exit(1 if failed or not results else 0)


def _results(file: Path, only: str) -> Iterator[dict[str, Any]]:
    from edge_agent.config.load import load

    configuration = load(file, resolve_secrets=False, resolve_environment=True)
    for index, case in enumerate(_cases(configuration)):
        if only in case.name:
            failures = _run(configuration, case)
            at = configuration.at("tests", index).rpartition(": ")[0]
            yield {"file": str(file), "at": at, "name": case.name, "loop": case.loop, "failures": [_as_json(f) for f in failures]}


def _cases(configuration: Configuration) -> list[Case]:
    """Every test, checked. ConfigError holds everything that is wrong with them."""
    from pydantic import ValidationError

    from edge_agent.config.explain import explain
    from edge_agent.decide.scenario import Case

    cases: list[Case] = []
    problems: list[Problem] = []
    for index, raw in enumerate(configuration.file.tests):
        try:
            case = Case.model_validate_json(json.dumps(raw))
        except ValidationError as error:
            problems += explain(error, Case, root=configuration.root, base=("tests", index), file=str(configuration.path))
        else:
            cases.append(case)
            problems += _strangers(configuration, index, case)
    if problems:
        raise ConfigError(problems)
    return cases


def _strangers(configuration: Configuration, index: int, case: Case) -> list[Problem]:
    """Loops and tags that the test names and the configuration does not have."""
    from edge_agent.config.suggest import cure
    from edge_agent.config.tree import place, problem
    from edge_agent.decide.scenario import unknown_names

    at: tuple[str | int, ...] = ("tests", index)
    found = []
    if case.loop not in configuration.policies:
        what, mend = f"there is no loop `{case.loop}`", cure(case.loop, configuration.policies)
        found.append(problem(str(configuration.path), place(configuration.root, (*at, "loop")), (*at, "loop"), what, mend))
    for path, tag in unknown_names(case, configuration.tags):
        span = place(configuration.root, (*at, *path), key=True)
        found.append(problem(str(configuration.path), span, (*at, *path), f"there is no tag `{tag}`", cure(tag, configuration.tags)))
    return found


def _run(configuration: Configuration, case: Case) -> list[Failure]:
    from edge_agent.decide.scenario import run

    config, perceive = configuration.policies[case.loop], configuration.file.loops[case.loop].perceive
    module = plugin.load("policy", configuration.file.loops[case.loop].decide["policy"])
    writable = tuple(configuration.file.loops[case.loop].execute)
    policy = module.Policy(config, loop=case.loop, tags=tuple(configuration.tags), writable=writable)
    return run(case, policy, every_s=perceive.every * perceive.hop if perceive.every else 1.0)


def _as_json(failure: Failure) -> dict[str, Any]:
    return {
        "at_s": failure.at_s,
        "what": failure.what,
        "expected": failure.expected,
        "got": failure.got,
        "reason": failure.reason,
        "text": str(failure),
    }


def _print(result: dict[str, Any]) -> None:
    if not result["failures"]:
        click.echo(f"{click.style('ok', fg='green')}    {result['name']}")
        return
    click.echo(f"{click.style('failed', fg='red', bold=True)} {result['name']}  ({result['at']})")
    for failure in result["failures"]:
        click.echo(f"    {failure['text']}")
