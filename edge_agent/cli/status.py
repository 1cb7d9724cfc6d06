"""status: what the agent is doing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edge_agent.cli.output import agent_argument, asked, json_option, show

_MOST = 20  # lines of tags in trouble; --json has them all
_NAMED = 8  # tags in one line


@click.command()
@agent_argument
@click.option("--tags", is_flag=True, help="Every tag's value, too.")
@json_option
def command(config: Path, tags: bool, as_json: bool) -> None:
    """What the agent that runs CONFIG is doing: links, loops, ledger, and what is wrong. With --json every bound and counter."""
    reply = asked(config, {"do": "status"})
    show(reply, as_json, text)
    if tags and not as_json:
        click.echo("\n".join(_value(tag, said) for tag, said in reply["tags"].items()))


def text(reply: dict[str, Any]) -> str:
    """A page for a person: what is well in few lines, what is wrong not left out."""
    lines = [f"agent {reply['agent']}: {reply['health'] or 'well'}, up {_span(reply['up_s'])}, pid {reply['pid']}"]
    lines += [f"link {name}: {c.get('link', '?')}, {c.get('reason') or '-'}" for name, c in reply["connectors"].items()]
    for name, loop in reply["loops"].items():
        lines += _loop(name, loop)
    lines += [f"loop {name}: DOES NOT RUN: {why}" for name, why in reply["refused"].items()]
    return "\n".join([*lines, _ledger(reply["ledger"]), *_tags(reply), *_dropped(reply), *_machine(reply)])


def _loop(name: str, loop: dict[str, Any]) -> Iterator[str]:
    until = f" until {loop['until']}" if loop.get("until") else ""
    yield f"loop {name}: {loop['mode']}{until}, {loop['why']}"
    yield f"  says    {_diagnosis(loop)} ({loop['model']})"
    if why := loop.get("diagnose", {}).get("refused"):
        yield f"  {'FALL-BACK' if loop['diagnose']['fallback'] else 'WITHOUT'}  {'; '.join(why)}"
    if loop["diagnosis"] and loop["diagnosis"].get("drifting"):
        yield f"  DRIFTING  {'; '.join(loop['diagnosis']['drifting'])}"
    if loop["state"]:
        yield "  state   " + (loop["because"] if loop["because"].startswith(loop["state"]) else f"{loop['state']}: {loop['because']}")
    for tag, held in loop["execute"]["tags"].items():
        if held["value"] is not None:
            yield f"  wrote   {tag} = {_plain(held['value'])}" + (", an operator has it now" if held["taken_by_operator"] else "")
        if held["unresolved_intent"] is not None:
            yield f"  {tag}: what became of the last write is not known yet (record {held['unresolved_intent']})"
        if held["waits_for_approval"] is not None:
            yield f"  WAITS for a person's yes: edge-agent approve CONFIG {name} {tag} {_plain(held['waits_for_approval'])}"
    if loop["errors"]:
        yield f"  {loop['errors']} turns failed, the last one: {loop['last_error']}"


def _diagnosis(loop: dict[str, Any]) -> str:
    found, window = loop["diagnosis"], loop["window"]
    if not found:
        return f"nothing yet: {window['filled']} of {window['rows']} rows" if window else "nothing yet"
    words = [found["label"] or ("" if found["status"] == "ok" else found["status"]), found["why"]]
    words += [f"{key} {found[key]:.3g}" for key in ("score", "confidence", "novelty") if found[key] is not None]
    if found.get("lower") is not None:
        words.append(f"between {found['lower']:.3g} and {found['upper']:.3g}")
    return ", ".join(word for word in words if word)


def _ledger(ledger: dict[str, Any]) -> str:
    state = "ok" if ledger["healthy"] else f"NOT WRITABLE, nothing is written to the plant: {ledger['trouble']}"
    size = f"{ledger['bytes'] / 1e6:.2g} MB of {ledger['max_bytes'] / 1e6:.0f} MB"
    days = f", holds {ledger['holds_s'] / 86400:,.1f} days" if ledger.get("holds_s") is not None else ""
    return f"ledger: {state}, {ledger['last_seq']} records, {size}{days}"


def _tags(reply: dict[str, Any]) -> list[str]:
    from edge_agent.status import troubles

    found = {tag: _stale(said) for tag, said in reply["tags"].items() if said["why"] != "good"}
    for connector in reply["connectors"].values():
        found |= troubles(connector)
    alike: dict[str, list[str]] = {}
    for tag, why in found.items():
        alike.setdefault(why, []).append(tag)
    lines = [f"{'tag' if len(tags) == 1 else 'tags'} {_few(tags)}: {why}" for why, tags in alike.items()]
    more = sum(map(len, list(alike.values())[_MOST:]))
    return lines[:_MOST] + ([f"and {more} more tags; --json shows them all"] if more else [])


def _few(tags: list[str]) -> str:
    return ", ".join(tags) if len(tags) <= _NAMED else f"{', '.join(tags[:_NAMED])} and {len(tags) - _NAMED} more"


def _value(tag: str, said: dict[str, Any]) -> str:
    value = "-" if said["value"] is None else _plain(said["value"])
    return f"  {tag:24} {value:>14}  {said['why']}" + ("" if said["age_s"] is None else f", {said['age_s']:.1f} s old")


def _stale(said: dict[str, Any]) -> str:
    return f"{said['why']}, " + ("no value yet" if said["age_s"] is None else f"last value {_span(said['age_s'])} ago")


def _dropped(reply: dict[str, Any]) -> list[str]:
    inbox, ledger = reply["inbox"], reply["ledger"]
    lost = {"samples by the inbox": inbox["dropped"], "samples not recorded": inbox["not_recorded"]}
    lost |= {"records by the ledger": ledger["lost"] + ledger["refused"]}
    lost |= {f"windows by loop {name}": loop["dropped"] for name, loop in reply["loops"].items()}
    said = [f"{count} {what}" for what, count in lost.items() if count]
    return [f"DROPPED: {', '.join(said)}"] if said else []


def _machine(reply: dict[str, Any]) -> Iterator[str]:
    if reply["machine"]["clock_stepped"]:
        yield "machine: the clock was set; writing waits for a minute"
    worker = reply["worker"]
    if worker.get("crashes") or worker.get("late"):
        yield f"model process: {worker.get('crashes', 0)} crashes, {worker.get('late', 0)} times late"
    for name, part in reply["parts"].items():
        if part["crashes"]:
            yield f"{name}: crashed {part['crashes']} times, last {part['last_error']}"
    if recording := reply["recording"]:
        yield f"recording: {recording.get('failed') or recording.get('path')}, {recording.get('frames')} frames"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
