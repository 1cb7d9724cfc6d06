"""May this tag be written like this? Every number a gate needs is there, and they agree with one another."""

from __future__ import annotations

import math
from collections.abc import Collection

from pydantic import BaseModel

from edge_agent.config.findings import Findings
from edge_agent.config.model import Loop, Tag, Write
from edge_agent.config.sections import Sections
from edge_agent.config.tree import Path


def check(findings: Findings, name: str, loop: Loop, found: Sections, names: Collection[str]) -> None:
    """Every tag in the loop's `execute`."""
    for tag, write in loop.execute.items():
        at: Path = ("loops", name, "execute", tag)
        if findings.tag(at, tag, names, key=True) and tag in found.tags:
            _allowed(findings, at, found.tags[tag], found)
            _sensor_range(findings, at, write, found.tags[tag])
        _others(findings, at, write, found, names)
        if write.limits is not None and write.values is not None:
            findings.error(
                (*at, "values"), "`limits` and `values` together", "limits are for numbers, values for switches and texts: keep one"
            )
        elif write.limits is not None:
            _numbers(findings, at, write, write.limits)
        elif write.values is None:
            findings.error(at, "neither `limits` nor `values`: nothing could ever be written", "add `limits: [lowest, highest]`", key=True)
        elif not write.values:
            findings.error((*at, "values"), "no value is allowed: nothing could ever be written", "name the values that may be written")


def _allowed(findings: Findings, at: Path, tag: Tag, found: Sections) -> None:
    """What the tag itself says."""
    word = at[-1]
    if tag.safety:
        findings.error(
            at, f"`{word}` is safety-related: the agent never writes it", "leave this to the plant's safety controller", key=True
        )
    elif not tag.write:
        findings.error(at, f"`{word}` may not be written", f"if it may, say `write: true` at tags.{word}", key=True)
    if _password_in_clear(found.connectors.get(tag.from_)):
        what = f"`{tag.from_}` sends user and password over policy None: never a write target"
        findings.error(at, what, "set security.policy and security.trust", key=True)


def _password_in_clear(connector: BaseModel | None) -> bool:
    """Any connector whose `security.policy` is None while it logs in."""
    policy = getattr(getattr(connector, "security", None), "policy", None)
    return policy == "None" and getattr(connector, "user", None) is not None


def _sensor_range(findings: Findings, at: Path, write: Write, tag: Tag) -> None:
    if write.limits is None or tag.range is None:
        return
    if write.limits[0] < tag.range[0] or write.limits[1] > tag.range[1]:
        what = f"limits {_pair(write.limits)} reach beyond the tag's range {_pair(tag.range)}"
        findings.error((*at, "limits"), what, "narrow the limits, or mend the range")


def _numbers(findings: Findings, at: Path, write: Write, limits: tuple[float, float]) -> None:
    low, high = limits
    if not low < high:
        what = f"the lower limit {low:g} is not below the upper limit {high:g}"
        findings.error((*at, "limits"), what, f"swap them: [{high:g}, {low:g}]" if high < low else "widen them")
        return
    if not low <= write.neutral <= high:
        findings.error(
            (*at, "neutral"), f"neutral {write.neutral:g} lies outside the limits {_pair(limits)}", "a trim must be able to return to it"
        )
    _speed(findings, at, write)
    _steps(findings, at, write, high - low)


def _speed(findings: Findings, at: Path, write: Write) -> None:
    if write.rate is None and write.max_step is None:
        findings.error(at, "neither `rate` nor `max_step`", "say how fast it may move, like `rate: 50/min`", key=True)
    for key in ("rate", "rate_down"):
        if getattr(write, key) == 0:
            findings.error((*at, key), "a rate of 0 never moves", "write a rate above 0, like '50/min'")
    if write.min_interval == 0 and write.max_step is None:
        findings.error((*at, "min_interval"), "0 s leaves no step: it is `rate` x `min_interval`", "write a time above 0")
    if write.budget is not None and write.step is not None and write.budget.change < write.step:
        findings.error((*at, "budget", "change"), f"less than one step of {write.step:g}: nothing could move", "allow at least one step")


def _steps(findings: Findings, at: Path, write: Write, span: float) -> None:
    step, tolerance = write.step, write.verify.tolerance
    if step is not None:
        if step > span:
            findings.error((*at, "step"), f"step {step:g} is larger than the whole range of {span:g}", "make it smaller")
        elif not _multiple(write.neutral, step):
            findings.error(
                (*at, "neutral"),
                f"neutral {write.neutral:g} is no multiple of step {step:g}",
                "a trim could not return to it: mend one of them",
            )
        if write.max_step is not None and write.max_step < step:
            findings.error((*at, "max_step"), f"max_step {write.max_step:g} is smaller than step {step:g}: nothing could move", "raise it")
    if tolerance is not None and tolerance < 0:
        findings.error((*at, "verify", "tolerance"), f"{tolerance:g} is negative", "write how far the tag may be off, in its unit")
    elif tolerance is not None and tolerance >= span:
        findings.error((*at, "verify", "tolerance"), f"with {tolerance:g} every value within the limits would pass", "make it smaller")
    elif tolerance is not None and step is not None and tolerance >= step:
        findings.warn(
            (*at, "verify", "tolerance"),
            f"{tolerance:g} hides a whole step of {step:g}: a write that did nothing would pass",
            "half a step is usual",
        )


def _multiple(value: float, step: float) -> bool:
    ratio = value / step
    return math.isclose(ratio, round(ratio), rel_tol=0, abs_tol=1e-6)


def _others(findings: Findings, at: Path, write: Write, found: Sections, names: Collection[str]) -> None:
    """The tags that a write leans on."""
    if write.base is not None and findings.tag((*at, "base"), write.base, names) and write.base == at[-1]:
        findings.error((*at, "base"), "a tag cannot be its own base", "name the operator's setpoint, which the agent does not write")
    if write.response is not None and findings.tag((*at, "response", "tag"), write.response.tag, names) and write.response.tag == at[-1]:
        findings.error(
            (*at, "response", "tag"), "the written tag is no answer of the process", "name a tag that the process moves, like a flow"
        )
    if write.lease is not None and findings.tag((*at, "lease", "tag"), write.lease.tag, names):
        _lease(findings, (*at, "lease", "tag"), write.lease.tag, found.tags.get(write.lease.tag))


def _lease(findings: Findings, at: Path, name: str, tag: Tag | None) -> None:
    if tag is not None and tag.safety:
        findings.error(at, f"`{name}` is safety-related: the agent never writes it", "name a plain counter that the PLC watches")
    elif tag is not None and not tag.write:
        findings.error(at, f"the lease counter `{name}` may not be written", f"say `write: true` at tags.{name}")


def _pair(values: tuple[float, float]) -> str:
    return f"[{values[0]:g}, {values[1]:g}]"
