from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfkit.ingest.symbols.kallsyms import Kallsyms, parse_kallsyms

LIST = b"""\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000000 T startup_64
ffffffff81000040 t helper
ffffffff81000080 W weak_one
ffffffff810000c0 D some_data
ffffffff81001000 t last_of_the_kernel
ffffffffc0000010 t mod_one\t[alpha]
ffffffffc0000020 t mod_two\t[alpha]
ffffffffc0004000 t other\t[beta]
ffffffffc0008000 t bpf_prog_6deef7357e7b4530\t[bpf]
"""


def names(symbols: Kallsyms, *addresses: int, delta: int = 0) -> list[str]:
    table = symbols.table(delta)
    hits = table.find(np.array(addresses, np.uint64))
    found = iter(table.names(hits[hits >= 0]))
    return [next(found) if hit >= 0 else "-" for hit in hits.tolist()]


def test_a_symbol_reaches_to_the_next_and_the_last_alias_counts() -> None:
    symbols = parse_kallsyms(LIST)
    assert names(symbols, 0xFFFFFFFF81000000, 0xFFFFFFFF8100003F, 0xFFFFFFFF81000040, 0xFFFFFFFF810000BF) == [
        "startup_64",
        "startup_64",
        "helper",
        "weak_one",
    ]
    assert names(symbols, 0xFFFFFFFF810000C0, 0xFFFFFFFF80FFFFFF) == ["-", "-"]
    assert symbols.references.tolist() == [0xFFFFFFFF81000000, 0]
    assert (symbols.is_hidden, symbols.damaged) == (False, 0)


def test_the_last_symbol_of_a_module_ends_with_a_page() -> None:
    symbols = parse_kallsyms(LIST)
    assert names(symbols, 0xFFFFFFFF81001FFF, 0xFFFFFFFF81002FFF) == ["last_of_the_kernel", "-"]
    assert names(symbols, 0xFFFFFFFFC000001F, 0xFFFFFFFFC0000FFF, 0xFFFFFFFFC0003FFF) == ["mod_one", "mod_two", "-"]
    assert names(symbols, 0xFFFFFFFFC0004001, 0xFFFFFFFFC0008001) == ["other", "-"]


def test_a_kernel_of_another_boot_has_no_modules() -> None:
    symbols = parse_kallsyms(LIST)
    assert names(symbols, 0xFFFFFFFFA1000041, 0xFFFFFFFF81000041, delta=0x20000000) == ["helper", "-"]
    assert names(symbols, 0xFFFFFFFFC0000011, 0xFFFFFFFFE0000011, delta=0x20000000) == ["-", "-"]


def test_hidden_addresses_are_noticed() -> None:
    assert parse_kallsyms(b"0000000000000000 T _text\n0000000000000000 t helper\n").is_hidden
    assert not parse_kallsyms(b"").is_hidden


@pytest.mark.parametrize("line", [b"zzzz T name", b"ffff", b"ffff T", b"ffff T ", b"", b"1ffffffffffffffff T wide"])
def test_damaged_lines_are_counted_and_the_others_kept(line: bytes) -> None:
    symbols = parse_kallsyms(LIST + line + b"\n" + b"ffffffffd0000000 T end")
    assert symbols.damaged == 1
    assert names(symbols, 0xFFFFFFFF81000040, 0xFFFFFFFFD0000001) == ["helper", "end"]


def test_addresses_of_32_bit_kernels() -> None:
    assert names(parse_kallsyms(b"c0100000 T _text\nc0100010 t next\n"), 0xC010000F, 0xC0100010) == ["_text", "next"]


def test_what_was_saved_comes_back() -> None:
    symbols = parse_kallsyms(LIST)
    again = Kallsyms.load(symbols.save())
    assert names(again, 0xFFFFFFFF81000040, 0xFFFFFFFFC0004001) == ["helper", "other"]
    assert again.references.tolist() == symbols.references.tolist()


def test_the_running_kernel_reads_as_its_lines_say() -> None:
    try:
        content = Path("/proc/kallsyms").read_bytes()
    except OSError:
        pytest.skip("/proc/kallsyms cannot be read")
    symbols = parse_kallsyms(content)
    if symbols.is_hidden:
        pytest.skip("kptr_restrict hides the addresses")
    assert symbols.damaged == 0
    by_address: dict[int, str] = {}
    for line in content.decode().splitlines():
        address, kind, name = line.split("\t")[0].split(" ")
        if kind in "tTwW" and "[" not in line:
            by_address[int(address, 16)] = name
    chosen = list(by_address)[:: max(1, len(by_address) // 5000)]
    assert names(symbols, *chosen) == [by_address[address] for address in chosen]
