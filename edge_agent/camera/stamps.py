"""When was this picture taken? The stream's own clock, tied to ours by its quickest pictures. Pure."""

from __future__ import annotations

_LEAK = 100e-6  # how fast two crystals may run apart
_LONGEST_NS = 2_000_000_000  # later than this is no jitter but a stall: the tie is made anew


class Stamps:
    """A picture that was held up on its way keeps the time of its capture; one without a time in the stream has that of its arrival."""

    def __init__(self, latency_s: float) -> None:
        self._latency_ns = round(latency_s * 1e9)
        self._tie_ns: int | None = None  # arrival of the quickest picture minus its time in the stream
        self._last_ns = -1
        self._arrived_ns = 0

    def stamp(self, stream_ns: int, mono_ns: int) -> int:
        """How long before its arrival the picture was taken, in ns. `stream_ns` is its time in the stream; not rising: unknown."""
        rising, self._last_ns = stream_ns > self._last_ns >= 0, stream_ns
        if not rising:
            self._tie_ns = None
            return self._latency_ns
        tie_ns = mono_ns - stream_ns
        leak_ns = int((mono_ns - self._arrived_ns) * _LEAK)
        if self._tie_ns is None or tie_ns - self._tie_ns > _LONGEST_NS:
            self._tie_ns = tie_ns
        self._tie_ns = min(self._tie_ns + leak_ns, tie_ns)
        self._arrived_ns = mono_ns
        return self._latency_ns + tie_ns - self._tie_ns
