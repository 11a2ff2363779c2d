"""From millions of callchains to the few distinct ones, their frames, and the call tree.

A chain is hashed where it lies in the file, without copying it out:

    H(chain) = Σ words[i] · r^(i - start)   (mod 2**64, r odd)
             = r^-start · Σ words[i] · r^i

so one multiplication and one segmented sum over the whole block hash all its chains. Two chains are taken for the
same when this hash, the length, the address space and the CPU mode agree; for a million distinct chains the chance
that any two collide is below 10^-7.

Only chains not seen before are copied, split by their context markers (PERF_CONTEXT_KERNEL, _USER …), resolved to
modules, and put into the tree, in batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.columns import KeyIndex, combine, ragged_indices
from perfkit.adapters.contract import Batch, IssueLog, batch
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.address_space import AddressSpaces
from perfkit.adapters.perf_data.samples import Samples
from perfkit.adapters.stack_tree import StackTree

type_int64 = NDArray[np.int64]
type_int32 = NDArray[np.int32]
type_uint64 = NDArray[np.uint64]

_BASE = 0xD6E8FEB86659FD93  # odd, so that it has an inverse modulo 2**64
_STRETCH_WORDS = 1 << 16
"""Words hashed at a time: words, powers and products of a stretch stay in the cache."""
_PART_WORDS = 1 << 16
_REMEMBERED_CHAINS = 1 << 20
_REMEMBERED_ADDRESSES = 1 << 19
"""What is remembered only to spare work is forgotten at these sizes: a chain or address that comes again is then
resolved again, to the same nodes and frames.
"""
_RECORD_LIMIT_WORDS = (1 << 16) // 8


def _powers(base: int, count: int) -> type_uint64:
    out = np.empty(count, np.uint64)
    out[0] = 1
    filled = 1
    while filled < count:
        step = min(filled, count - filled)
        out[filled : filled + step] = out[:step] * np.uint64(pow(base, filled, 1 << 64))
        filled += step
    return out


class ChainHasher:
    """Hashes chains where they lie."""

    def __init__(self) -> None:
        # A chain begins in a stretch and may reach one record's length past it.
        count = _STRETCH_WORDS + _RECORD_LIMIT_WORDS + 1
        self._powers = _powers(_BASE, count)
        self._inverses = _powers(pow(_BASE, -1, 1 << 64), count)
        self._products = np.empty(count, np.uint64)

    def hash(self, words: NDArray[np.uint64], starts: type_int64, lengths: type_int64) -> type_uint64:
        """One hash a chain, uint64 [n]; `starts` ascend. Empty chains hash to 0."""
        out = np.zeros(len(starts), np.uint64)
        if not len(starts):
            return out
        bounds = np.searchsorted(starts, np.arange(int(starts[0]), int(starts[-1]) + 1, _STRETCH_WORDS))
        for first, last in zip(bounds, [*bounds[1:], len(starts)], strict=True):
            if first < last:
                self._hash_stretch(words, starts[first:last], lengths[first:last], out[first:last])
        return out

    def _hash_stretch(
        self, words: NDArray[np.uint64], starts: type_int64, lengths: type_int64, out: type_uint64
    ) -> None:
        base = int(starts[0])
        end = int((starts + lengths).max())
        products = self._products[: end - base + 1]
        np.multiply(words[base:end], self._powers[: end - base], out=products[:-1])
        products[-1] = 0
        segments = np.empty(2 * len(starts), np.int64)
        segments[0::2] = starts - base
        segments[1::2] = starts + lengths - base
        sums = np.add.reduceat(products, segments)[0::2]
        np.multiply(sums, self._inverses[starts - base], out=out)
        out[lengths == 0] = 0


@dataclass(slots=True)
class _NewChains:
    """Distinct chains that wait to be resolved: raw words, context markers included."""

    words: type_uint64
    lengths: type_int64
    space: type_int32
    cpu_mode: NDArray[np.uint8]


class ChainTable:
    """Numbers the distinct chains of a capture, and knows the innermost stack node of each."""

    def __init__(self, spaces: AddressSpaces, issues: IssueLog, max_stack: int) -> None:
        self._spaces = spaces
        self._issues = issues
        self._max_stack = max_stack
        self._hasher = ChainHasher()
        self._index = KeyIndex()
        self._forgotten = 0
        self._new: list[_NewChains] = []
        self._leaves = np.empty(0, np.int32)
        self._frames = _FrameTable(spaces)
        self._tree = StackTree()
        self.waiting_words = 0
        """Words of chains that `leaves` has yet to resolve: the caller bounds memory by this."""

    def intern(self, samples: Samples, spaces: type_int32) -> type_int32:
        """The chain number of each sample, int32 [n]; -1 for samples with neither chain nor ip."""
        count = len(samples)
        if len(self._index) > _REMEMBERED_CHAINS:
            self._forgotten += len(self._index)
            self._index = KeyIndex()
        if samples.chain_start is None or samples.chain_length is None:
            starts, lengths = np.zeros(count, np.int64), np.zeros(count, np.int64)
        else:
            starts, lengths = samples.chain_start, samples.chain_length
        hashes = self._hasher.hash(samples.block.u64, starts, lengths)
        bare = self._is_bare(samples, starts, lengths)
        if bare.any():
            ip = samples.ip if samples.ip is not None else np.zeros(count, np.uint64)
            lengths = np.where(bare, 0, lengths)
            hashes = np.where(bare, ip, hashes)
        keys = combine(hashes, lengths, spaces, samples.cpu_mode)
        ids, firsts = self._index.intern(keys)
        ids += np.int32(self._forgotten)
        if len(firsts):
            self._remember(samples, spaces, starts, lengths, firsts)
        if bare.any() and samples.ip is None:
            ids = np.where(bare, np.int32(-1), ids)
        return ids

    def leaves(self, chains: type_int32) -> tuple[type_int32, NDArray[np.bool_]]:
        """The innermost stack node of each chain, and whether there is one."""
        self._resolve()
        leaves = np.append(self._leaves, np.int32(-1))[chains]
        return leaves, leaves >= 0

    def to_batches(self) -> list[Batch]:
        """`frame` and `stack` of the whole capture, which ends here: what numbers chains and frames is let go."""
        self._resolve()
        self._index, self._leaves = KeyIndex(), np.empty(0, np.int32)
        frames = self._frames.to_batch()
        return [frames, self._tree.to_batch(None)]

    @staticmethod
    def _is_bare(samples: Samples, starts: type_int64, lengths: type_int64) -> NDArray[np.bool_]:
        """Samples whose chain holds no address, only context markers or nothing: their ip is all there is."""
        bare: NDArray[np.bool_] = lengths == 0
        short = np.flatnonzero((lengths > 0) & (lengths <= 2))
        if len(short):
            first = samples.block.take(starts[short])
            second = samples.block.take(starts[short] + lengths[short] - 1)
            limit = np.uint64(abi.CONTEXT_MAX)
            bare[short] = (first >= limit) & (second >= limit)
        return bare

    def _remember(
        self, samples: Samples, spaces: type_int32, starts: type_int64, lengths: type_int64, firsts: type_int64
    ) -> None:
        counts = lengths[firsts]
        words = samples.block.take(ragged_indices(starts[firsts], counts))
        empty = counts == 0
        if empty.any():
            # A chain of its own for the bare ip.
            counts = np.where(empty, 1, counts)
            ends = np.cumsum(counts)
            merged = np.empty(int(ends[-1]), np.uint64)
            is_ip = np.zeros(len(merged), bool)
            is_ip[(ends - counts)[empty]] = True
            merged[~is_ip] = words
            merged[is_ip] = samples.ip[firsts][empty] if samples.ip is not None else 0
            words = merged
        space, cpu_mode = spaces[firsts], samples.cpu_mode[firsts]
        # In parts that fit the cache, as resolving them takes many steps over all their words.
        ends = np.cumsum(counts)
        cuts = np.searchsorted(ends, np.arange(_PART_WORDS, int(ends[-1]) + _PART_WORDS, _PART_WORDS), side="left") + 1
        begin = 0
        for end in np.unique(np.minimum(cuts, len(counts))).tolist():
            part = words[(ends[begin - 1] if begin else 0) : ends[end - 1]]
            self._new.append(_NewChains(part, counts[begin:end], space[begin:end], cpu_mode[begin:end]))
            begin = end
        self.waiting_words += len(words)

    def _resolve(self) -> None:
        if not self._new:
            return
        waiting, self._new, self.waiting_words = self._new, [], 0
        frames, lengths = [], []
        for part in waiting:
            addresses = _split_contexts(part, self._issues)
            frames.append(self._frames.intern(addresses, part.space))
            lengths.append(np.bincount(addresses.chain, minlength=len(part.lengths)))
        leaves = self._add_to_tree(np.concatenate(frames), np.concatenate(lengths))
        self._leaves = np.concatenate([self._leaves, leaves])

    def _add_to_tree(self, frames: type_int32, lengths: type_int64) -> type_int32:
        # Chains come innermost first; the tree grows from the outermost.
        ends = np.cumsum(lengths)
        return self._tree.add(frames[::-1], len(frames) - ends, lengths, lengths == self._max_stack)


@dataclass(slots=True)
class _Addresses:
    """The addresses of chains without the markers: flat, chain after chain, innermost first."""

    ip: type_uint64
    chain: type_int32
    cpu_mode: NDArray[np.uint8]
    is_caller: NDArray[np.bool_]


def _split_contexts(new: _NewChains, issues: IssueLog) -> _Addresses:
    """Take the context markers out and give each address the mode that the marker before it names. The first address
    of a context is where execution stood; those behind it are return addresses.
    """
    words = new.words
    chain = np.repeat(np.arange(len(new.lengths), dtype=np.int32), new.lengths)
    first = np.zeros(len(words), bool)
    first[np.cumsum(new.lengths) - new.lengths] = True
    mode = np.repeat(new.cpu_mode, new.lengths)
    high = np.flatnonzero(words >= np.uint64(abi.CONTEXT_MAX))
    is_marker = np.zeros(len(words), bool)
    for value, cpu_mode in abi.CONTEXT_MODES.items():
        at = high[words[high] == np.uint64(value)]
        mode[at] = cpu_mode
        is_marker[at] = True
    stray = len(high) - int(is_marker.sum())
    issues.add("stray_callchain_value", "info", "values from -1 to -4095 in distinct callchains that are no context "
               "markers (garbage that frame-pointer unwinding met); kept as unnamed frames", count=stray)  # fmt: skip
    sets_mode = first | is_marker
    at = np.maximum.accumulate(np.where(sets_mode, np.arange(len(words)), 0))
    mode = mode[at]
    behind_start = np.zeros(len(words), bool)
    behind_start[1:] = is_marker[:-1]
    begins = behind_start | first
    keep = ~is_marker
    return _Addresses(words[keep], chain[keep], mode[keep], ~begins[keep])


class _FrameTable:
    """Distinct frames: module, place in it, mode, and whether the address is a return address."""

    def __init__(self, spaces: AddressSpaces) -> None:
        self._spaces = spaces
        self._seen = KeyIndex()
        self._frame_of_seen = np.empty(1 << 12, np.int32)
        self._index = KeyIndex()
        self._module: list[type_int32] = []
        self._address: list[type_uint64] = []
        self._mode: list[NDArray[np.uint8]] = []
        self._is_caller: list[NDArray[np.bool_]] = []

    def __len__(self) -> int:
        return len(self._index)

    def intern(self, addresses: _Addresses, space_of_chain: type_int32) -> type_int32:
        """The frame id of each address. An address of a space is located when it is seen for the first time; the same
        code in two spaces is one frame.
        """
        if len(self._seen) > _REMEMBERED_ADDRESSES:
            self._seen = KeyIndex()
        spaces = np.where(addresses.cpu_mode == abi.CPUMODE_USER, space_of_chain[addresses.chain], np.int32(-1))
        context = (spaces.astype(np.int64) << 4) | (addresses.cpu_mode << 1) | addresses.is_caller
        seen, firsts = self._seen.intern(combine(addresses.ip, context))
        if len(firsts):
            self._add(addresses.ip[firsts], spaces[firsts], addresses.cpu_mode[firsts], addresses.is_caller[firsts])
        return self._frame_of_seen.take(seen)

    def _add(
        self, ips: type_uint64, spaces: type_int32, modes: NDArray[np.uint8], is_caller: NDArray[np.bool_]
    ) -> None:
        """Locate addresses that are new, and give them frames."""
        module, place = self._locate(ips, spaces, modes)
        ids, firsts = self._index.intern(combine(place, module, modes, is_caller))
        self._module.append(module[firsts])
        self._address.append(place[firsts])
        self._mode.append(modes[firsts])
        self._is_caller.append(is_caller[firsts])
        count = len(self._seen)
        while count > len(self._frame_of_seen):
            self._frame_of_seen = np.concatenate([self._frame_of_seen, np.empty_like(self._frame_of_seen)])
        self._frame_of_seen[count - len(ids) : count] = ids

    def to_batch(self) -> Batch:
        """Rows of `frame`, without names; run-time code and BPF programs have their module's. Ends the table."""
        self._seen, self._index, self._frame_of_seen = KeyIndex(), KeyIndex(), np.empty(0, np.int32)
        if not self._module:
            return batch("frame", frame_id=np.empty(0, np.int32))
        module = np.concatenate(self._module)
        modes = np.concatenate(self._mode)
        modules = self._spaces.modules
        is_jit = np.array([entry.is_jit for entry in modules], bool)
        has_build_id = np.array([entry.build_id is not None for entry in modules], bool)
        mapped = module >= 0
        kinds = np.where(mapped & is_jit[module] & (modes == abi.CPUMODE_USER), len(abi.CPUMODE_KINDS), modes)
        return batch(
            "frame",
            frame_id=np.arange(len(module), dtype=np.int32),
            module=_encode(module, mapped, [entry.name for entry in modules]),
            build_id=_encode(module, mapped & has_build_id[module], [entry.build_id or "" for entry in modules]),
            address=np.concatenate(self._address),
            kind=_encode(kinds, np.ones(len(kinds), bool), [*abi.CPUMODE_KINDS, "jit"]),
            inlined=np.zeros(len(module), bool),
            is_caller=np.concatenate(self._is_caller),
        )

    def _locate(self, ips: type_uint64, spaces: type_int32, modes: NDArray[np.uint8]) -> tuple[type_int32, type_uint64]:
        """Module (-1 for none) and place in it of addresses."""
        module = np.full(len(ips), -1, np.int32)
        place = ips.copy()
        for mode, is_guest in ((abi.CPUMODE_KERNEL, False), (abi.CPUMODE_GUEST_KERNEL, True)):
            rows = np.flatnonzero(modes == mode)
            if len(rows):
                module[rows], place[rows] = self._spaces.resolve_kernel(ips[rows], is_guest=is_guest)
        rows = np.flatnonzero((modes == abi.CPUMODE_USER) & (spaces >= 0))
        rows = rows[np.argsort(spaces[rows], kind="stable")]
        for part in np.split(rows, np.flatnonzero(np.diff(spaces[rows])) + 1) if len(rows) else ():
            module[part], place[part] = self._spaces.resolve(int(spaces[part[0]]), ips[part])
        return module, place


def _encode(numbers: NDArray[np.integer[Any]], valid: NDArray[np.bool_], names: list[str]) -> pa.DictionaryArray:
    """`names[number]` of each number, null where not valid, without writing a name twice."""
    distinct: dict[str, int] = {}
    index = np.array([distinct.setdefault(name, len(distinct)) for name in names], np.int32)
    indices = pa.array(index[np.where(valid, numbers, 0)], mask=~valid)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(distinct), pa.string()))
