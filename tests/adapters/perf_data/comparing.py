"""Holds every sample that perfkit reads against `perf script`, and names the rule behind each difference.

The rules are those of docs/perf-data-differences.md; a difference that none of them explains is a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.adapters.perf_data.decoded import Decoded, DecodedSample, Place
from tests.adapters.perf_data.oracle import ScriptSample

PERF_MAX_STACK = 127
"""PERF_MAX_STACK_DEPTH: addresses of a chain that `perf script` prints when not told otherwise."""
_FIRST_STRAY = 2**64 - 4095  # PERF_CONTEXT_MAX
_KERNEL = 1 << 63

STRAY, DEPTH, DUMP, BARE = "stray value", "perf's depth limit", "user stack dump", "empty chain"


def compare(script: Sequence[ScriptSample], decoded: Decoded, *, has_stack_dumps: bool = False) -> Counter[str]:
    """How often each rule was needed.

    Raises:
        AssertionError: a sample differs in a way that no rule explains.
    """
    samples = decoded.samples()
    assert len(samples) == len(script)
    biases = _biases(decoded)
    rules: Counter[str] = Counter()
    for index, (theirs, ours) in enumerate(zip(script, samples, strict=True)):
        for name in ("comm", "pid", "tid", "cpu", "time", "event", "period"):
            expected = getattr(theirs, name)
            assert expected is None or getattr(ours, name) == expected, (index, theirs, ours)
        if not theirs.is_chain:
            assert _is_at(theirs.ips[0], ours, biases), (index, theirs, ours)
            continue
        rule = _rule(theirs.ips, ours.frames, has_stack_dumps)
        assert rule is not None, (index, theirs, ours)
        rules[rule] += bool(rule)
    return +rules


def _rule(theirs: tuple[int, ...], frames: tuple[Place, ...], has_stack_dumps: bool) -> str | None:
    """The rule that explains the difference; "" where there is none to explain, None where no rule does."""
    ours = tuple(frame.address for frame in frames)
    if has_stack_dumps and ours != theirs:
        return DUMP if _kernel_part(ours) == _kernel_part(theirs) else None
    has_stray = any(address >= _FIRST_STRAY for address in ours)
    if has_stray:
        # perf meets a context that it does not know, and drops the chain (callchain_cursor_reset).
        return STRAY if not theirs else None
    if ours == theirs:
        return ""
    if len(theirs) == PERF_MAX_STACK and ours[:PERF_MAX_STACK] == theirs:
        return DEPTH
    return BARE if not theirs and len(ours) == 1 else None


def _kernel_part(ips: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(ip for ip in ips if _KERNEL <= ip < _FIRST_STRAY)


def _biases(decoded: Decoded) -> dict[tuple[int, str], set[int]]:
    """What turns a place in a module into an address, by pid and module."""
    pids = {row["upid"]: row["pid"] for row in decoded.rows("process")}
    parents = {row["upid"]: row["parent_upid"] for row in decoded.rows("process")}
    own: dict[int, set[tuple[str, int]]] = {}
    for row in decoded.rows("mapping"):
        own.setdefault(row["upid"], set()).add((row["path"], row["start"] - row["file_offset"]))
    out: dict[tuple[int, str], set[int]] = {}
    for upid, pid in pids.items():
        ancestor = upid
        while ancestor is not None:
            for path, bias in own.get(ancestor, ()):
                out.setdefault((pid, path), set()).add(bias)
            ancestor = parents[ancestor]
    return out


def _is_at(ip: int, sample: DecodedSample, biases: dict[tuple[int, str], set[int]]) -> bool:
    """Without a callchain perf prints the address itself, not the place in the module."""
    if len(sample.frames) != 1:
        return False
    frame = sample.frames[0]
    if frame.address == ip:
        return True
    possible = biases.get((sample.pid, frame.module or ""), set())
    return any((frame.address + bias) % 2**64 == ip for bias in possible)
