"""What has to be restarted when the configuration changes from one to another?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from edge_agent import app
from edge_agent.config.load import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Names of parts: stopped ones are gone or changed, started ones are new or changed."""

    stop_loops: frozenset[str]
    start_loops: frozenset[str]
    stop_connectors: frozenset[str]
    start_connectors: frozenset[str]
    tags: frozenset[str]  # new or changed
    gone_tags: frozenset[str]
    needs_restart: tuple[str, ...]  # sections that cannot change while running

    @property
    def empty(self) -> bool:
        return not (self.stop_loops or self.start_loops or self.stop_connectors or self.start_connectors or self.tags or self.gone_tags)


def change(old: Configuration, new: Configuration, *, again: Collection[str] = ()) -> Change:
    """Compare two configurations. A connector restarts when it or any of its tags changed; a loop when it, its policy, a tag
    it uses, or the connector of such a tag changed; the loops in `again` in any case."""
    tags = {name for name, tag in new.tags.items() if old.tags.get(name) != tag}
    gone = old.tags.keys() - new.tags.keys()
    touched = {new.tags[t].from_ for t in tags} | {old.tags[t].from_ for t in gone} | {old.tags[t].from_ for t in tags if t in old.tags}
    connectors = {name for name, config in new.connectors.items() if old.connectors.get(name) != config or name in touched}
    gone_connectors = old.connectors.keys() - new.connectors.keys()
    loops = {name for name in new.file.loops if name in again or _loop_changed(old, new, name, connectors)}
    stopped = (loops & old.file.loops.keys()) | (old.file.loops.keys() - new.file.loops.keys())
    sections = ("agent", "ledger", "models")
    return Change(
        stop_loops=frozenset(stopped),
        start_loops=frozenset(loops),
        stop_connectors=frozenset((connectors & old.connectors.keys()) | gone_connectors),
        start_connectors=frozenset(connectors),
        tags=frozenset(tags),
        gone_tags=frozenset(gone),
        needs_restart=tuple(s for s in sections if getattr(old.file, s) != getattr(new.file, s)),
    )


def _loop_changed(old: Configuration, new: Configuration, name: str, connectors: set[str]) -> bool:
    loop = new.file.loops[name]
    if old.file.loops.get(name) != loop or old.policies.get(name) != new.policies[name]:
        return True
    return any(new.tags[tag].from_ in connectors for tag in app.uses(new, name))
