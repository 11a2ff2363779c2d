from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.ingest.symbols.elf_builder import CODE_ADDRESS, CODE_OFFSET, ElfBuilder
from tests.support import captures

from perfkit.adapters.contract import IssueLog, batch
from perfkit.ingest.symbols import running
from perfkit.ingest.symbols.elf import ElfFile
from perfkit.ingest.symbols.symboliser import KernelIdentity, Symboliser, SymbolOptions
from perfkit.schema.validate import validate_batch

Row = tuple[str | None, str | None, int, str, bool]  # module, build-id, address, kind, is_caller


def frames(rows: list[Row], functions: list[str | None] | None = None) -> pa.RecordBatch:
    modules, build_ids, addresses, kinds, callers = zip(*rows, strict=True)
    return batch(
        "frame",
        frame_id=list(range(len(rows))),
        function=functions or [None] * len(rows),
        module=list(modules),
        build_id=list(build_ids),
        address=list(addresses),
        kind=list(kinds),
        inlined=[False] * len(rows),
        is_caller=list(callers),
    ).data


def name(rows: list[Row], options: SymbolOptions, issues: IssueLog | None = None) -> list[str]:
    named = Symboliser(options).name_frames(frames(rows), issues if issues is not None else IssueLog())
    validate_batch("frame", named)
    result: list[str] = named.column("function").to_pylist()
    return result


def issues_of(log: IssueLog) -> dict[str, int]:
    return {code: log.count(code) for code in log.to_batch().data.column("code").to_pylist()}


@pytest.fixture
def options(tmp_path: Path) -> SymbolOptions:
    """Searches nothing but the recorded paths."""
    return SymbolOptions(
        debug_dirs=(), build_id_cache=tmp_path / "cache", cache_dir=tmp_path / "own", perf_map_dir=tmp_path
    )


@pytest.fixture
def library(tmp_path: Path) -> tuple[str, str]:
    builder = ElfBuilder()
    builder.add("_ZN1a1bEv", CODE_ADDRESS, 0x10)
    builder.add("plain", CODE_ADDRESS + 0x10, 0x10)
    path = tmp_path / "lib.so"
    path.write_bytes(builder.build())
    return str(path), builder.build_id.hex()


def test_rows_keep_their_order_and_their_names(library: tuple[str, str], options: SymbolOptions) -> None:
    path, build_id = library
    rows: list[Row] = [
        (path, build_id, CODE_OFFSET + 0x10, "user", False),
        (None, None, 0xDEAD, "user", False),
        (path, build_id, CODE_OFFSET + 4, "user", False),
        (path, build_id, CODE_OFFSET + 4, "user", False),
        (path, build_id, CODE_OFFSET + 0x800, "user", False),
    ]
    given_names = [None, None, None, "already", None]
    issues = IssueLog()
    named = Symboliser(options).name_frames(frames(rows, given_names), issues)
    assert named.column("function").to_pylist() == ["plain", "[unknown]", "a::b()", "already", "[lib.so]"]
    assert named.column("system_name").to_pylist() == [None, None, "_ZN1a1bEv", None, None]
    assert named.column("frame_id").to_pylist() == [0, 1, 2, 3, 4]
    assert issues_of(issues) == {"unnamed_frames": 2}


def test_a_return_address_belongs_to_the_call_before_it(library: tuple[str, str], options: SymbolOptions) -> None:
    path, build_id = library
    rows: list[Row] = [(path, build_id, CODE_OFFSET + 0x10, "user", is_caller) for is_caller in (False, True)]
    assert name(rows, options) == ["plain", "a::b()"]


def test_another_build_is_not_used_and_counted(library: tuple[str, str], options: SymbolOptions) -> None:
    issues = IssueLog()
    symboliser = Symboliser(options)
    row: Row = (library[0], "ab" * 20, CODE_OFFSET, "user", False)
    assert symboliser.name_frames(frames([row]), issues).column("function").to_pylist() == ["[lib.so]"]
    assert issues_of(issues) == {"unnamed_frames": 1, "build_id_mismatch": 1}
    assert "ab" * 20 in symboliser.reasons[library[0]]


def test_a_build_that_was_not_compared_is_counted(library: tuple[str, str], options: SymbolOptions) -> None:
    issues = IssueLog()
    assert name([(library[0], None, CODE_OFFSET, "user", False)], options, issues) == ["a::b()"]
    assert issues_of(issues) == {"build_id_unrecorded": 1}


@pytest.mark.parametrize(
    ("module", "kind", "expected"),
    [
        ("/gone/lib.so", "user", "[lib.so]"),
        ("/gone/lib.so (deleted)", "user", "[lib.so]"),
        ("[heap]", "user", "[heap]"),
        ("//anon", "user", "[anon]"),
        ("/", "user", "[]"),
        (None, "user", "[unknown]"),
        (None, "kernel", "[unknown]"),
        ("[kernel.kallsyms]", "kernel", "[kernel.kallsyms]"),
        ("[guest.kernel.kallsyms]", "guest_kernel", "[guest.kernel.kallsyms]"),
        ("/tmp/perf-1.map", "jit", "[perf-1.map]"),
    ],
)
def test_what_cannot_be_named(module: str | None, kind: str, expected: str, options: SymbolOptions) -> None:
    issues = IssueLog()
    assert name([(module, None, 0x1000, kind, False)], options, issues) == [expected]
    assert issues.count("unnamed_frames") == 1


def test_perf_maps_name_run_time_code(options: SymbolOptions) -> None:
    (options.perf_map_dir / "perf-77.map").write_bytes(b"7f0010 20 long JitWork.hotOuter(int)\nbroken\n")
    rows: list[Row] = [("/tmp/perf-77.map", None, address, "jit", False) for address in (0x7F0010, 0x7F0030)]
    issues = IssueLog()
    assert name(rows, options, issues) == ["long JitWork.hotOuter(int)", "[perf-77.map]"]
    assert issues_of(issues) == {"bad_symbol_file": 1, "unnamed_frames": 1}


def test_kernel_frames_and_those_of_its_modules_share_one_table(options: SymbolOptions) -> None:
    folder = options.build_id_folder("11" * 20)
    folder.mkdir(parents=True)
    (folder / "kallsyms").write_bytes(
        b"ffffffff81000000 T _text\nffffffff81000040 t _Zhelper\nffffffff81001000 t end\nffffffffc0000000 t f\t[mod]\n"
    )
    rows: list[Row] = [
        ("[kernel.kallsyms]", "11" * 20, 0xFFFFFFFF81000044, "kernel", False),
        ("[mod]", None, 0xFFFFFFFFC0000004, "kernel", False),
        ("/lib/modules/6.1/mod.ko", "22" * 20, 0xFFFFFFFFC0000004, "kernel", False),
    ]
    issues = IssueLog()
    kernel = KernelIdentity(reference=("_text", 0xFFFFFFFF81000000))
    named = Symboliser(options).name_frames(frames(rows), issues, kernel=kernel)
    assert named.column("function").to_pylist() == ["_Zhelper", "f", "f"]
    assert len(issues) == 0


def test_the_vdso(options: SymbolOptions) -> None:
    image = running.vdso()
    if image is None or image.build_id is None:
        pytest.skip("this kernel maps no vdso")
    section = image.section(".dynsym")
    assert section is not None
    row = next(row for row in image.symbols(section) if row["info"] & 0xF == 2 and row["section"])
    rows: list[Row] = [
        ("[vdso]", build_id, int(row["value"]), "user", False) for build_id in (image.build_id, "11" * 20)
    ]
    found, unknown = name(rows, options)
    assert re.fullmatch(r"(__vdso_|clock_|getcpu|getrandom|gettimeofday|time).*", found)
    assert unknown == "[vdso]"


_LINE = re.compile(r"^\s+([0-9a-f]+) (.+?)\+0x[0-9a-f]+ \((/.+)\)$|^\s+([0-9a-f]+) (\[unknown\]) \((/.+)\)$")
_STACKS = ("fp", "pipe", "lost2", "overwrite", "clockid", "truth-cpu", "truth-dwarf", "truth-faults", "user-only")


@pytest.mark.parametrize("capture", _STACKS)
def test_names_are_those_of_perf_script(capture: str, tmp_path: Path, options: SymbolOptions) -> None:
    """Every user frame of the programs whose files are at hand, named as perf 6.1 named it."""
    path = next(p for p in captures("perf").glob(f"{capture}.script.txt*") if p.suffix in {".txt", ".gz"})
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    # The captures' programs lay in a folder that is gone.
    programs = tmp_path / "root" / "tmp" / "cap" / "wl"
    programs.parent.mkdir(parents=True)
    programs.symlink_to(captures("workloads"))
    lines = {match.groups() for match in map(_LINE.match, text.splitlines()) if match}
    expected = [(a or d, b or e, c or f) for a, b, c, d, e, f in lines if "/tmp/cap/wl/" in (c or f)]
    assert len(expected) > 5
    rows: list[Row] = [(module, None, int(address, 16), "user", False) for address, _, module in expected]
    named = name(rows, SymbolOptions(symfs=tmp_path / "root", debug_dirs=(), build_id_cache=tmp_path))
    for found, (address, function, module) in zip(named, expected, strict=True):
        if function == "[unknown]":
            assert found.startswith("[") or found.endswith("@plt"), (address, module)  # perf 6.1 knew no .plt.got
        else:
            assert found == function, (address, module)


def test_names_are_those_of_perf_here(tmp_path: Path, options: SymbolOptions) -> None:
    """Kernel, libraries and their separate debug files of this machine, as the installed perf names them."""
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    data = tmp_path / "perf.data"
    work = "i=0; while [ $i -lt 40 ]; do ls -lR /usr/share/doc/lib* | gzip -1 | wc -c; i=$((i+1)); done"
    record = ["perf", "record", "-q", "-N", "-g", "-F", "1999", "-o", data, "--", "timeout", "1", "sh", "-c", work]
    if subprocess.run(record, capture_output=True, check=False).returncode not in {0, 124} or not data.exists():
        pytest.skip("perf may not record here")
    build_ids = subprocess.run(["perf", "buildid-list", "-i", data], capture_output=True, text=True, check=True).stdout
    known = {module: build_id for build_id, module in (line.split(maxsplit=1) for line in build_ids.splitlines())}
    script = ["perf", "script", "--no-inline", "-F", "ip,sym,dso", "-i", data]
    lines = set(subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines())
    found = [m.groups() for m in (re.match(r"\s+([0-9a-f]+) (\S+) \((\S+)\)$", line) for line in lines) if m]
    found = [(address, function, module) for address, function, module in found if module in known]
    if not found:
        pytest.skip("perf recorded nothing")
    rows: list[Row] = [
        (module, known[module], int(address, 16), "kernel" if module.startswith("[kernel") else "user", False)
        for address, _, module in found
    ]
    named = Symboliser(SymbolOptions(cache_dir=tmp_path, is_local=True)).name_frames(frames(rows), IssueLog())
    pairs = zip(named.column("function").to_pylist(), (function for _, function, _ in found), strict=True)
    # perf before 6.3 takes .plt entries for those of other functions, and knows no .plt.got; see plt.py.
    different = [(a, b) for a, b in pairs if a != b and not a.endswith("@plt") and (b != "[unknown]" or a[0] != "[")]
    assert different == []


def _program() -> bytes:
    builder = ElfBuilder()
    for index in range(20):
        builder.add(f"_ZN3foo{index:03d}Ev"[:11], CODE_ADDRESS + 16 * index, 16 * (index % 3))
    return builder.build()


_SMALL = _program()
_HOT = [*range(64 + 56), *range(CODE_OFFSET + 0x1000, len(_SMALL))]  # the header and all tables


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.sampled_from(_HOT), st.integers(0, 255)), min_size=1, max_size=8))
@example(flips=[(9241, 0)])  # the first letter of a name
def test_flipped_bytes_never_raise(flips: list[tuple[int, int]], tmp_path: Path) -> None:
    content = bytearray(_SMALL)
    for at, value in flips:
        content[at] = value
    _survive(bytes(content), tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_of_a_real_program_never_raise(data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(captures("workloads", "libwork1.so").read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _survive(bytes(content), tmp_path)


def test_every_truncation_is_survived(tmp_path: Path) -> None:
    for length in [*range(0, 200, 3), *range(CODE_OFFSET + 0x1000, len(_SMALL), 7)]:
        _survive(_SMALL[:length], tmp_path)


def _survive(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.so"
    path.write_bytes(content)
    rows: list[Row] = [
        (str(path), None, address, "user", False) for address in (0, CODE_OFFSET, CODE_OFFSET + 40, 0x1100, 2**64 - 1)
    ]
    issues = IssueLog()
    named = name(rows, SymbolOptions(debug_dirs=(), build_id_cache=tmp_path / "none"), issues)
    assert all(named)
    if all(function.startswith("[") for function in named):
        assert issues.count("unnamed_frames") == len(rows)


def test_tables_outside_the_file_are_counted(tmp_path: Path, options: SymbolOptions) -> None:
    content = bytearray(_SMALL)
    table = ElfFile(_SMALL, "small").section(".strtab")
    assert table is not None
    path = tmp_path / "cut.so"
    path.write_bytes(content[:-64])  # the last section header is gone
    issues = IssueLog()
    name([(str(path), None, CODE_OFFSET, "user", False)], options, issues)
    assert issues.count("bad_symbol_file") == 1
