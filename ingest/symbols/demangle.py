"""Names as people write them, out of names as linkers know them.

C++ goes through the C++ runtime's own `__cxa_demangle`, so that a name reads exactly as c++filt, gdb, Valgrind and perf
(since 6.2, which brought parameters) print it; Rust and Swift, and C++ where there is no such runtime, through
multi-demangle.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterable
from functools import cache

_MANGLED = re.compile(r"_Z|_R[0-9A-Z]|_?\$[sS]|_T0|___?Z")
_RUST_LEGACY = re.compile(r"17h[0-9a-f]{16}E(?:$|[.@])")
_BACK_REFERENCE = re.compile(r"[ST][0-9A-Z]*_")
_MAX_BACK_REFERENCES = 32
_PLT = "@plt"
MAX_NAME = 4096
"""Longer names stay as they are: taking them apart costs more than reading them is worth."""


def demangle(names: Iterable[str]) -> dict[str, str]:
    """The names that can be demangled, with what they read as."""
    found: dict[str, str] = {}
    others: list[str] = []
    from_cpp = _cpp_runtime()
    for name in names:
        if not _MANGLED.match(name) or len(name) > MAX_NAME:
            continue
        if name.startswith("_Z") and not _RUST_LEGACY.search(name):
            shown = "" if _may_explode(name) else from_cpp(name.removesuffix(_PLT))
            if shown:
                found[name] = shown + (_PLT if name.endswith(_PLT) else "")
                continue
        others.append(name)
    if others:
        found.update(_by_library(others))
    return found


def _may_explode(name: str) -> bool:
    """Whether a C++ name could be built to fill all memory: each back reference may repeat what holds others, so that
    its length can grow by a factor of 3 with every three of them, and `__cxa_demangle` knows no bound. multi-demangle
    does, and gets these few: one name in thousands, even of template libraries.
    """
    return sum(1 for _ in _BACK_REFERENCE.finditer(name)) > _MAX_BACK_REFERENCES


def _by_library(names: list[str]) -> dict[str, str]:
    import multi_demangle

    bare = [name.removesuffix(_PLT) for name in names]
    shown = multi_demangle.demangle_symbols(bare)
    return {
        name: after + name[len(before) :]
        for name, before, after in zip(names, bare, shown, strict=True)
        if after and after != before
    }


@cache
def _cpp_runtime() -> Callable[[str], str]:
    """`__cxa_demangle` of the C++ runtime; answers "" for what it cannot read."""
    try:
        function = ctypes.CDLL("libstdc++.so.6")["__cxa_demangle"]
        release = ctypes.CDLL(None).free
    except (OSError, AttributeError):
        return lambda _: ""
    function.restype = ctypes.c_void_p
    function.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    release.argtypes = (ctypes.c_void_p,)
    release.restype = None

    def demangle_cpp(name: str) -> str:
        address = function(name.encode(), None, None, None)
        if not address:
            return ""
        try:
            return ctypes.string_at(address).decode("utf-8", "replace")
        finally:
            release(address)

    return demangle_cpp
