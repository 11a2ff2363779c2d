from __future__ import annotations

import shutil
import subprocess

import pytest
from tests.support import captures

from perfkit.ingest.symbols.demangle import MAX_NAME, demangle


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("_ZNK3geo6Square4areaEv", "geo::Square::area() const"),
        ("_Znwm@plt", "operator new(unsigned long)@plt"),
        ("_Z3foov.cold", "foo() [clone .cold]"),
        ("_ZN4core3fmt9Formatter3pad17h9b2b3a0e5b4d1b31E", "core::fmt::Formatter::pad"),
        ("_RNvC6_123foo3bar", "123foo::bar"),
        ("_RINvNtC3std3mem8align_ofjE", "std::mem::align_of::<usize>"),
        ("$s10Foundation4DataV5countSivg", "Foundation.Data.count.getter : Swift.Int"),
    ],
)
def test_languages(name: str, readable: str) -> None:
    assert demangle([name]) == {name: readable}


@pytest.mark.parametrize(
    "name", ["main", "_start", "_Zebra", "_Rust", "$simple", "", "_Z", "Lcom/foo;::bar", "_ZN3foo"]
)
def test_other_names_stay(name: str) -> None:
    assert demangle([name]) == {}


def test_absurdly_long_names_stay() -> None:
    assert demangle(["_Z" + "N" * MAX_NAME]) == {}


def test_a_name_made_to_fill_all_memory_stays() -> None:
    references = ["S_", *(f"S{digit}_" for digit in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")]
    name = "_Z1f1AIiiE" + "".join(f"S_I{reference}{reference}E" for reference in references[1:])  # 2**36 times `int`
    assert demangle([name]) == {}


def test_cpp_reads_as_cxxfilt_prints_it() -> None:
    if shutil.which("c++filt") is None:
        pytest.skip("binutils is not installed")
    lines = subprocess.run(["nm", captures("workloads", "inl")], capture_output=True, text=True, check=True).stdout
    names = sorted({line.split()[-1].split("@")[0] for line in lines.splitlines() if " _Z" in line})
    filtered = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    assert len(names) > 10
    assert list(demangle(names).items()) == list(zip(names, filtered.splitlines(), strict=True))
