"""What is in the pool? Counts, and where records are missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_agent.pool import manifest as manifests
from edge_agent.pool.parquet import arrow


def report(into: Path) -> dict[str, Any]:
    """For each agent: records, kinds, labels, and holes in the numbers (hidden from our token, or removed by retention)."""
    folders = sorted(file.parent for file in into.glob("*/manifest.json"))
    return {folder.name: _agent(folder) for folder in folders}


def _agent(folder: Path) -> dict[str, Any]:
    manifest = manifests.read(folder, folder.name)
    kinds: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    holes = missing = last = 0
    for row in _rows(folder, [batch.name for batch in manifest.files]):
        kinds[row["kind"]] += 1
        if row["kind"] == "label" and row["payload"]:
            labels[str(json.loads(row["payload"]).get("value"))] += 1
        if row["seq"] > last + 1:
            holes, missing = holes + 1, missing + row["seq"] - last - 1
        last = row["seq"]
    return {
        "records": sum(kinds.values()),
        "cursor": [manifest.cursor.epoch, manifest.cursor.seq],
        "kinds": dict(sorted(kinds.items())),
        "labels": dict(labels.most_common()),
        "declared_gaps": kinds["gap"],
        "holes": {"count": holes, "records": missing},
        "missing_blobs": manifest.missing_blobs,
        "files": len(manifest.files),
    }


def _rows(folder: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    pa = arrow()
    for name in names:
        file = pa.parquet.ParquetFile(folder / name)
        for group in file.iter_batches(columns=["seq", "kind", "payload"], batch_size=5000):
            yield from group.to_pylist()
