"""Did you mean ...? The nearest of the words that would have been right."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    import difflib  # costs 5 ms, and only a mistake needs it

    pool = list(known)
    lower = {name.lower().replace("-", "_"): name for name in pool}
    close = difflib.get_close_matches(word.lower().replace("-", "_")[:100], lower, n=1, cutoff=0.6)
    return lower[close[0]] if close else None


def cure(word: str, known: Iterable[str], *, nothing: str = "there is none") -> str:
    """'did you mean `x`?', or what there is."""
    pool = list(known)
    if found := nearest(word, pool):
        return f"did you mean `{found}`?"
    if not pool:
        return nothing
    shown = ", ".join(pool[:12]) + (f" and {len(pool) - 12} more" if len(pool) > 12 else "")
    return f"there is: {shown}" if len(pool) == 1 else f"there are: {shown}"
