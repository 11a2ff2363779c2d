"""Finds the adapter for a source: one ordered list of our own, then those that other distributions register.

Our own come in the order in which they are asked. Binary formats with a magic come first, since nothing else can be
mistaken for them; text formats follow, the stricter before the looser.
"""

from __future__ import annotations

import contextlib
import importlib
from functools import cache
from importlib.metadata import entry_points

from perfkit.adapters.contract import Adapter
from perfkit.adapters.source import Source
from perfkit.schema.errors import UnknownFormatError

ENTRY_POINT_GROUP = "perfkit.adapters"

OWN = (
    "perfkit.adapters.perf_data.adapter:PerfData",  # PERFILE2 or PERFFILE
    "perfkit.adapters.valgrind_xml:ValgrindXml",  # the root element `valgrindoutput`
    "perfkit.adapters.dhat:Dhat",  # a JSON object whose first key is `dhatFileVersion`
    "perfkit.adapters.massif:Massif",  # begins with `desc:`, `cmd:` and `time_unit:` lines
    "perfkit.adapters.perf_stat:PerfStat",  # CSV and JSON lines with the tool's fixed columns
    "perfkit.adapters.cachegrind:Cachegrind",  # `desc:`, `cmd:`, `events:` and none of callgrind's lines
    "perfkit.adapters.callgrind:Callgrind",  # `# callgrind format`, or its `events:` and `fn=` lines
    "perfkit.adapters.valgrind_log:ValgrindLog",  # lines `==<pid>==` of a checker, with others between them
    "perfkit.adapters.perf_script:PerfScript",  # header lines ending in `event:`; the loosest of these
)


@cache
def adapters() -> tuple[Adapter, ...]:
    """All adapters in the order in which they are asked; third parties' after our own. One that cannot be imported
    (its library is missing) takes itself out of the list and nothing else.
    """
    return (*(_load(path) for path in OWN), *_others())


def find_adapter(source: Source) -> Adapter:
    """The first adapter that recognises the source.

    Raises:
        UnknownFormatError: none does.
        FormatError: the outer compression is broken.
    """
    for path in OWN:  # one by one: most sources are recognised before all adapters are imported
        if (adapter := _load(path)).sniff(source):
            return adapter
    for adapter in _others():
        if adapter.sniff(source):
            return adapter
    if not source.is_dir and not source.head:
        _ = source.size  # says so if the content could not be unpacked
    raise UnknownFormatError(
        source.path,
        None if source.is_dir else 0,
        "a capture of a known format",
        _describe(source),
        hint="`perfkit formats` lists what perfkit reads.",
    )


def _describe(source: Source) -> str:
    if source.is_dir:
        return f"a folder of {len(source.names)} entries that is no capture itself"
    if not source.head:
        return "an empty file"
    return f"content that begins {source.head[:16]!r}"


@cache
def _others() -> tuple[Adapter, ...]:
    adapters: list[Adapter] = []
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        with contextlib.suppress(ImportError):
            adapters.append(point.load()())
    return tuple(adapters)


@cache
def _load(path: str) -> Adapter:
    module, _, name = path.partition(":")
    adapter: Adapter = getattr(importlib.import_module(module), name)()
    return adapter
