"""Somebody on the way changes a signed bundle, anywhere, in any manner: not one changed bundle is accepted."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from edge_agent.diagnose import bundle, manifest, signature
from edge_agent.errors import ModelRefused
from edge_agent.lifecycle import sign

BUNDLE = Path(__file__).parents[3] / "models" / "demo-pump"
Figure = Callable[..., None]
Mutation = Callable[[Path, random.Random], None]


class Supply(NamedTuple):
    """A signed bundle, whom the agent trusts, and a stranger's key."""

    folder: Path
    keys: signature.Keys
    stranger: Path


@pytest.fixture
def supply(memory: Path) -> Supply:
    folder = memory / "signed"
    shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.md"))
    secret, _, _ = sign.keygen(memory / "keys", "acme")
    stranger, _, _ = sign.keygen(memory / "strangers", "mallory")
    sign.sign(folder, secret)
    return Supply(folder, signature.trusted(memory / "keys"), stranger)


# ---------------------------------------------------------------- what somebody may do


def a_file(folder: Path, chance: random.Random) -> Path:
    return chance.choice(sorted(path for path in folder.iterdir() if path.is_file()))


def bend(change: Callable[[bytearray, random.Random], object]) -> Mutation:
    """A mutation of one file's bytes."""

    def mutate(folder: Path, chance: random.Random) -> None:
        path = a_file(folder, chance)
        data = bytearray(path.read_bytes())
        change(data, chance)
        path.write_bytes(data)

    return mutate


def flip_a_bit(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def swap_case(data: bytearray, chance: random.Random) -> None:
    places = [i for i, byte in enumerate(data[:20_000]) if chr(byte).isalpha() and byte < 128]
    data[chance.choice(places)] ^= 0x20


def cut_out(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.randint(1, 64)]


def put_in(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    data[start:start] = chance.choice((b"\0", b" ", b"\n", b"9", b"\t", chance.randbytes(5)))


def overwrite(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    data[start : start + 16] = chance.randbytes(16)


def cut_off(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def append(data: bytearray, chance: random.Random) -> None:
    data.extend(chance.choice((b"\n", b" ", b"\0", chance.randbytes(9))))


def double(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    piece = data[start : start + chance.randint(1, 200)]
    data[start:start] = piece


def swap_names(folder: Path, chance: random.Random) -> None:
    one, two = chance.sample(sorted(folder.iterdir()), 2)
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)


def take_away(folder: Path, chance: random.Random) -> None:
    a_file(folder, chance).unlink()


def add_a_file(folder: Path, chance: random.Random) -> None:
    name = chance.choice(("hook.py", "model.onnx.data", "card.yml", ".hidden", "manifest.json.bak", "manifest.sig2"))
    (folder / name).write_bytes(chance.randbytes(20))


def link(folder: Path, chance: random.Random) -> None:
    path = a_file(folder, chance)
    elsewhere = folder.parent / "elsewhere"
    elsewhere.unlink(missing_ok=True)
    path.rename(elsewhere)
    os.link(elsewhere, path) if chance.random() < 0.5 else path.symlink_to(elsewhere)


def reseal(folder: Path) -> None:
    """A manifest that fits the changed files; whoever changes them can make one."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name in manifest.REQUIRED | manifest.OPTIONAL}
    said = dict(line.split(": ", 1) for line in files["card.yaml"].decode().splitlines() if line.startswith(("name: ", "version: ")))
    (folder / manifest.MANIFEST).write_bytes(manifest.build(said["name"], said["version"], files))


def edit_the_card_and_reseal(folder: Path, chance: random.Random) -> None:
    card = folder / "card.yaml"
    old, new = chance.choice((("tier: 1", "tier: 2"), ("novelty: 0.999", "novelty: 1.0"), ("alarm: 0.8", "alarm: 0.1"), ("1.0.0", "1.0.1")))
    assert old in card.read_text()
    card.write_text(card.read_text().replace(old, new))
    reseal(folder)


def bend_the_graph_and_reseal(folder: Path, chance: random.Random) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    flip_a_bit(data, chance)
    (folder / "model.onnx").write_bytes(data)
    reseal(folder)


def raise_the_version(folder: Path, chance: random.Random) -> None:
    path = folder / manifest.MANIFEST
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "version": f"9.{chance.randint(0, 9)}.0"}, indent=1))


def write_the_signature_another_way(folder: Path, chance: random.Random) -> None:
    path = folder / manifest.SIGNATURE
    said = json.loads(path.read_text())
    value = said["signature"]
    ways = (
        json.dumps(said, indent=chance.randint(1, 4)),
        json.dumps(dict(reversed(said.items()))),
        json.dumps({**said, "signature": value.rstrip("=")[:-1] + chr(ord(value.rstrip("=")[-1]) ^ 1) + "=="}),
        json.dumps({**said, "key": said["key"].upper()}) + "\n",
        path.read_text() + " ",
        path.read_text().rstrip(),
    )
    path.write_text(chance.choice(ways))


MUTATIONS: tuple[Mutation, ...] = (
    *(bend(change) for change in (flip_a_bit, swap_case, cut_out, put_in, overwrite, cut_off, append, double)),
    swap_names, take_away, add_a_file, link, edit_the_card_and_reseal, bend_the_graph_and_reseal, raise_the_version,
    write_the_signature_another_way,
)  # fmt: skip
NAMES = ("flip", "case", "cut out", "put in", "overwrite", "cut off", "append", "double")


def mutate(supply: Supply, copy: Path, number: int) -> tuple[str, bool]:
    """A changed copy; what was done, and whether anything is different now."""
    chance = random.Random(number)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(supply.folder, copy)
    index = number % (len(MUTATIONS) + 1)
    if index == len(MUTATIONS):  # the stranger signs what he changed
        edit_the_card_and_reseal(copy, chance)
        sign.sign(copy, supply.stranger)
        return "signed by a stranger", True
    MUTATIONS[index](copy, chance)
    name = NAMES[index] if index < len(NAMES) else getattr(MUTATIONS[index], "__name__", "")
    return name, not same(supply.folder, copy)


def same(one: Path, two: Path) -> bool:
    if sorted(p.name for p in one.iterdir()) != sorted(p.name for p in two.iterdir()) or any(p.is_symlink() for p in two.iterdir()):
        return False
    return all(p.read_bytes() == (two / p.name).read_bytes() and (two / p.name).stat().st_nlink == 1 for p in one.iterdir())


def accepted(supply: Supply, count: int) -> tuple[list[str], Counter[str]]:
    """Which of `count` changed bundles were taken; and how many of each kind were tried."""
    taken, tried = [], Counter[str]()
    number = 0
    while sum(tried.values()) < count:
        what, different = mutate(supply, supply.folder.with_name("copy"), number)
        number += 1
        if not different:
            continue
        tried[what] += 1
        try:
            bundle.read(supply.folder.with_name("copy"), keys=supply.keys)
        except ModelRefused:
            continue
        taken.append(f"{number - 1}: {what}")
    return taken, tried


def none_is_accepted(supply: Supply, count: int, figure: Figure) -> None:
    assert bundle.read(supply.folder, keys=supply.keys).signed_by == "acme", "unchanged it is taken"
    taken, tried = accepted(supply, count)
    assert taken == []
    assert len(tried) == len(MUTATIONS) + 1, "every kind was tried"
    figure("model supply", mutations=sum(tried.values()), accepted=0, kinds=len(tried))


def test_a_hundred_changed_bundles_are_refused(supply: Supply, figure: Figure) -> None:
    none_is_accepted(supply, 100, figure)


@pytest.mark.control
def test_an_agent_that_believes_every_signature_takes_changed_bundles(
    supply: Supply, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    """The control: without the signature the hashes stop accidents, not people."""
    monkeypatch.setattr(signature, "verify", lambda manifest, raw, keys, where: "acme")
    taken, _ = accepted(supply, 100)
    assert len(taken) > 10
    figure("model supply, control without signature", mutations=100, accepted=len(taken))


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_a_thousand_changed_bundles_are_refused(supply: Supply, figure: Figure) -> None:
    none_is_accepted(supply, 1000, figure)
