"""edge-agent models: look at, check, sign, pack, install model bundles, and go back to an earlier one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_agent.cli import models_bench, models_evaluate, models_inspect, models_monitor, models_quantize
from edge_agent.cli.models_options import PATH, dev_option, json_option, or_refuse, read, show, store_option, trust_option


@click.group("models", short_help="List, inspect, verify, sign model bundles")
def command() -> None:
    """Model bundles: a folder with graph, card, golden vectors, manifest and signature. Exit 4: a bundle is refused."""


@command.command("list")
@store_option
@json_option
def list_(models: Path, as_json: bool) -> None:
    """Which models are installed, and which version is in use; and bundles that just lie there."""
    from edge_agent.lifecycle.store import listing

    found = [{"name": m.name, "current": m.state.current, "previous": m.state.previous, "path": str(m.path)} for m in listing(models)]
    lying = sorted(file.parent for file in models.glob("*/manifest.json"))
    rows: list[dict[str, Any]] = [*found, *({"name": p.name, "current": None, "previous": [], "path": str(p)} for p in lying)]
    nothing = f"{models}: no model; `edge-agent models install` brings one"
    show(rows, as_json, lambda rows: "\n".join(map(_listed, rows)) or nothing)


@command.command("show")
@click.argument("bundle", type=PATH)
@trust_option
@json_option
def show_(bundle: Path, trust: Path, as_json: bool) -> None:
    """What a bundle is: roles, head, intended use, figures, origin, who signed it."""

    def look() -> dict[str, Any]:
        from edge_agent.diagnose.bundle import describe

        return describe(read(bundle, trust, dev=True))

    show(or_refuse(look, as_json), as_json, _card)


@command.command("verify")
@click.argument("bundle", type=PATH)
@trust_option
@dev_option
@json_option
def verify(bundle: Path, trust: Path, dev: bool, as_json: bool) -> None:
    """Hashes, signature, admission, and the golden vectors in a worker on this very processor."""

    def check() -> dict[str, Any]:
        import asyncio

        from edge_agent.diagnose.signature import trusted
        from edge_agent.lifecycle.store import try_out

        found = asyncio.run(try_out(bundle, keys=trusted(trust), dev=dev))
        return {"ok": True, "model": found.id, "signed_by": found.signed_by, "tier": found.tier, "hash": found.hash}

    show(or_refuse(check, as_json), as_json, _verdict)


@command.command("keygen")
@click.argument("name")
@click.option("--into", type=PATH, default=".", show_default=True, help="Folder for the two files.")
@json_option
def keygen(name: str, into: Path, as_json: bool) -> None:
    """Make a signing key: NAME.key stays with you, NAME.pem goes into each agent's trust folder."""
    from edge_agent.lifecycle.sign import keygen as make

    secret, public, key = make(into, name)
    show({"key": key, "private": str(secret), "public": str(public)}, as_json, lambda r: f"{r['private']}\n{r['public']}\nkey {r['key']}")


@command.command("sign")
@click.argument("bundle", type=PATH)
@click.option("--key", type=PATH, required=True, help="Private key of `models keygen`.")
@json_option
def sign(bundle: Path, key: Path, as_json: bool) -> None:
    """Sign a bundle that is whole and admitted."""

    def work() -> dict[str, Any]:
        from edge_agent.lifecycle.sign import sign as put

        return {"ok": True, "bundle": str(bundle), "key": put(bundle, key)}

    show(or_refuse(work, as_json), as_json, lambda r: f"{r['bundle']}: signed by key {r['key']}")


@command.command("pack")
@click.argument("bundle", type=PATH)
@click.option("--into", "archive", type=PATH, required=True, help="The file to write, like pump-1.2.0.tar.zst.")
@json_option
def pack(bundle: Path, archive: Path, as_json: bool) -> None:
    """Write a bundle into one file; the same bundle gives the same bytes."""

    def work() -> dict[str, Any]:
        from edge_agent.lifecycle.pack import pack as put

        put(bundle, archive)
        return {"ok": True, "archive": str(archive), "bytes": archive.stat().st_size}

    show(or_refuse(work, as_json), as_json, lambda r: f"{r['archive']}: {r['bytes']} bytes")


@command.command("install")
@click.argument("source", type=PATH)
@store_option
@trust_option
@dev_option
@json_option
def install(source: Path, models: Path, trust: Path, dev: bool, as_json: bool) -> None:
    """Verify a packed bundle or a folder, try it on this processor, and put it into use. The agent takes it at its next reload."""

    def work() -> dict[str, Any]:
        from edge_agent.diagnose.signature import trusted
        from edge_agent.lifecycle.store import install as put

        found = put(source, models, keys=trusted(trust), dev=dev)
        return {"ok": True, "model": found.id, "signed_by": found.signed_by, "tier": found.tier, "hash": found.hash}

    show(or_refuse(work, as_json), as_json, _verdict)


@command.command("rollback")
@click.argument("name")
@store_option
@json_option
def rollback(name: str, models: Path, as_json: bool) -> None:
    """Put the version before the current one into use again."""
    from edge_agent.lifecycle.store import rollback as back

    old, new = back(name, models)
    show({"name": name, "from": old, "to": new}, as_json, lambda r: f"{r['name']}: {r['from']} -> {r['to']}")


for _each in (models_inspect.inspect, models_quantize.quantize, models_evaluate.evaluate, models_bench.bench, models_monitor.monitor):
    command.add_command(_each)


def _listed(row: dict[str, Any]) -> str:
    if row["current"] is None:
        return f"{row['name']:24} {'(a bundle, not installed)':32} edge-agent models show {row['path']}"
    return f"{row['name']:24} {row['current']:32} {len(row['previous'])} earlier"


def _verdict(reply: dict[str, Any]) -> str:
    signer = f"signed by {reply['signed_by']}" if reply["signed_by"] else "not signed by anybody trusted"
    return f"{reply['model']}: good; {signer}; for loops up to tier {reply['tier']}"


def _card(reply: dict[str, Any]) -> str:
    lines = [f"{reply['model']}  ({reply['head']}, tier {reply['tier']}, signed by {reply['signed_by'] or 'nobody trusted'})"]
    lines += [f"  use       {reply['intended']['use']}", f"  not for   {reply['intended']['not_for'] or '-'}"]
    lines += [f"  window    {reply['rows']} rows, {reply['every_s'] or '-'} s apart"]
    lines += [f"  role      {r['role']} [{r['unit'] or '-'}] {r['range'] or ''}".rstrip() for r in reply["roles"]]
    for which in ("fp32", "int8"):
        figures = ", ".join(f"{name} {value:g}" for name, value in reply["metrics"][which].items())
        lines += [f"  {which:9} {figures}"] if figures else []
    return "\n".join(
        [*lines, f"  data      {reply['provenance']['data']} ({reply['provenance']['data_licence']})", f"  hash      {reply['hash']}"]
    )
