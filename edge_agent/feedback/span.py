"""For how long a time does the ledger hold what happened, before retention takes it? Counted once it has; until then foreseen."""

from __future__ import annotations

from edge_agent.feedback.store import Store

_LEAST_S = 600.0  # of records before anything is foreseen
_NS = 1e9


def holds_s(store: Store, now_ns: int, max_size: float, size: int) -> float | None:
    """Seconds from the oldest unlabelled payload that is still there to now; while nothing had to be dropped yet, the seconds that
    fit at the pace so far. None while that is too short to tell, or where the clock was set in between."""
    row = store.db.execute("SELECT value FROM progress WHERE name = 'payload 0'").fetchone()
    dropped = int(row[0]) if row else 0
    oldest = store.db.execute("SELECT wall_ns FROM record WHERE seq > ? AND kept = 1 ORDER BY seq LIMIT 1", (dropped,)).fetchone()
    age_s = (now_ns - oldest[0]) / _NS if oldest else 0.0
    if age_s < 0 or (not dropped and (age_s < _LEAST_S or not size)):
        return None
    return age_s if dropped else age_s * max(1.0, max_size / size)
