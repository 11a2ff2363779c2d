"""What flame graphs are made of: the choice of samples, and what the HTML and SVG files hold."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.query.flame_store import Frame, Sample, fold_plainly, write_store

from perfkit.query.flamegraph.call_tree import merge
from perfkit.query.flamegraph.options import Format, Grouping, Options
from perfkit.query.flamegraph.palette import CONTRAST, SHADES, TEXT, contrast, palette, shade_of
from perfkit.query.flamegraph.picture import printable
from perfkit.query.flamegraph.profile import Profile, load_profile
from perfkit.query.flamegraph.render import RENDERERS
from perfkit.query.flamegraph.selection import Metric, Selection, parse_time
from perfkit.query.flamegraph.symbols import Family, Symbol
from perfkit.query.folded import fold
from perfkit.schema.database import open_for_reading
from perfkit.schema.errors import QueryError

MS = 1_000_000
KERNEL = Frame("vfs_read", "[kernel.kallsyms]", "kernel")
LIBC = Frame("read", "/usr/lib/libc.so.6")
MAIN = Frame("main")
NASTY = [
    "</script><b>bold</b><!--",
    "<T as core::fmt::Display>::fmt",
    "a \"quoted\" 'name' & more",
    "escape \x1b[31m \x00 \x7f \x9b",
    "right\u202eto left\u2028line",
    "]]> {{data}} ${x} \\u003c",
    "\ufffd\ufffe\U0001f525 emoji",
]


def load(path: Path, **selection: object) -> Profile:
    with open_for_reading(path) as connection:
        return load_profile(connection, Selection(**{"captures": (1,), **selection}))  # type: ignore[arg-type]


def draw(profile: Profile, form: Format, **options: Any) -> str:
    return "".join(RENDERERS[form].render(profile, Options(**options)))


def page_data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def svg_frames(picture: str) -> list[tuple[str, int, int, ET.Element]]:
    """(name, offset, value, element) of every frame."""
    root = ET.fromstring(picture)
    frames = [element for element in root.iter("{http://www.w3.org/2000/svg}g") if element.get("class") == "frame"]
    return [
        (
            (frame.findtext("{http://www.w3.org/2000/svg}title") or "").split("\n")[0],
            int(frame.get("data-o", "")),
            int(frame.get("data-v", "")),
            frame,
        )
        for frame in frames
    ]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = [
        Sample("app", (MAIN, LIBC, KERNEL), 30 * MS, tid=1, ts=1_000 * MS, cpu=0, metric="cpu-clock:ppp"),
        Sample("app", (MAIN, LIBC), 20 * MS, tid=1, ts=1_200 * MS, cpu=1, metric="cpu-clock:ppp"),
        Sample("app", (MAIN, Frame("[app]")), 10 * MS, tid=1, ts=1_400 * MS, cpu=1, metric="cpu-clock:ppp"),
        Sample("idle task", (KERNEL,), 40 * MS, tid=2, pid=2, ts=2_000 * MS, cpu=0, metric="cpu-clock:ppp"),
        Sample("app", (MAIN,), 1, tid=1, ts=2_500 * MS, metric="page-faults"),
        Sample("app", (MAIN, LIBC), 1, tid=1, ts=2_500 * MS, metric="page-faults"),
    ]
    path = tmp_path_factory.mktemp("store") / "capture.duckdb"
    return write_store(path, samples, units={"cpu-clock:ppp": "ns"}, issues=[("lost_samples", 12)])


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, {"app": 60 * MS, "idle_task": 40 * MS}),
        ({"metric": "page-faults"}, {"app": 2}),
        ({"metric": "cpu-clock"}, {"app": 60 * MS, "idle_task": 40 * MS}),
        ({"metric": "samples"}, {"app": 3, "idle_task": 1}),
        ({"start": "200ms"}, {"app": 30 * MS, "idle_task": 40 * MS}),
        ({"start": "0.2s", "end": "1s"}, {"app": 30 * MS}),
        ({"start": "1200000000", "end": "1400000000"}, {"app": 20 * MS}),
        ({"where": "cpu = 1"}, {"app": 30 * MS}),
        ({"where": "thread = 'idle task' OR seconds < 0.1"}, {"app": 30 * MS, "idle_task": 40 * MS}),
        ({"where": "pid = 2"}, {"idle_task": 40 * MS}),
        ({"where": "function = 'vfs_read' AND process <> 'x'"}, {"app": 30 * MS, "idle_task": 40 * MS}),
        ({"where": "kind = 'kernel' AND depth = 0"}, {"idle_task": 40 * MS}),
        ({"where": "module LIKE '%libc%' -- of GNU"}, {"app": 20 * MS}),
        ({"where": "stack_id IN (SELECT stack_id FROM stack WHERE depth = 2)"}, {"app": 30 * MS}),
    ],
)
def test_selection_chooses_samples(capture: Path, selection: dict[str, str], expected: dict[str, int]) -> None:
    found: dict[str, int] = {}
    for line in fold(load(capture, **selection)):
        stack, _, value = line.rpartition(" ")
        comm = stack.split(";")[0]
        found[comm] = found.get(comm, 0) + int(value)
    assert found == expected


@pytest.mark.parametrize(
    "where",
    ["cpu =", "nonsense = 1", "cpu = 1) OR (true", "cpu = 1; DROP TABLE sample", "sum(value) > 1", "'a' + 1 = cpu"],
)
def test_a_bad_condition_says_what_is_wrong_and_what_may_be_used(capture: Path, where: str) -> None:
    with pytest.raises(QueryError, match="condition") as caught:
        load(capture, where=where)
    assert "thread" in caught.value.hint


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"metric": "cycles"}, "no samples of a metric named 'cycles'"),
        ({"start": "soon"}, "'soon' is no time"),
        ({"start": "1.5"}, "'1.5' is no time"),
        ({"where": "cpu = 99"}, "no sample of cpu-clock:ppp is left"),
        ({"captures": (9,)}, "no samples"),
    ],
)
def test_questions_without_an_answer(capture: Path, selection: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=re.escape(message)):
        load(capture, **selection)


def test_times_have_units_or_are_absolute() -> None:
    assert parse_time("1.5s") == (1_500_000_000, True)
    assert parse_time("-200 ms") == (-200_000_000, True)
    assert parse_time("30us") == parse_time("30µs") == (30_000, True)
    assert parse_time("2m") == (120_000_000_000, True)
    assert parse_time("1700000000000000000") == (1_700_000_000_000_000_000, False)


def test_samples_without_times_cannot_be_chosen_by_time(tmp_path: Path) -> None:
    path = write_store(tmp_path / "aggregate.duckdb", [Sample("app", (MAIN,), 5, ts=None)])
    assert list(fold(load(path))) == ["app;main 5"]
    with pytest.raises(QueryError, match="no times"):
        load(path, start="1s")


def test_a_level_is_what_it_was_last_and_not_a_sum(tmp_path: Path) -> None:
    samples = [Sample("app", (MAIN,), value, ts=ts) for ts, value in ((1, 100), (2, 300), (3, 200))]
    path = write_store(tmp_path / "level.duckdb", samples, aggregation="last")
    assert list(fold(load(path))) == ["app;main 200"]


def test_rooted_at_a_function_counts_recursion_once(tmp_path: Path) -> None:
    inner = Frame("visit")
    samples = [
        Sample("a", (MAIN, inner, Frame("x"), inner, Frame("y")), 3),
        Sample("b", (inner, Frame("y")), 4, tid=2),
        Sample("b", (MAIN,), 5, tid=2),
    ]
    profile = load(write_store(tmp_path / "root.duckdb", samples))
    rooted = profile.rooted_at("visit")
    assert list(fold(rooted)) == ["visit;x;visit;y 3", "visit;y 4"]
    with pytest.raises(QueryError, match="passes through 'Visi'") as caught:
        profile.rooted_at("Visi")
    assert "'visit'" in caught.value.hint


def _random_profile(tmp_path: Path, count: int = 800) -> tuple[Profile, list[Sample]]:
    chance = random.Random(3)
    samples = [
        Sample(
            chance.choice(["app", "worker"]),
            tuple(Frame(f"f{min(int(chance.expovariate(0.6)), 9)}") for _ in range(chance.randrange(1, 9))),
            value=chance.randrange(1, 10_000),
            tid=number % 2,
            ts=number,
        )
        for number in range(count)
    ]
    return load(write_store(tmp_path / "random.duckdb", samples)), samples


def test_svg_is_xml_whose_widths_are_the_values(tmp_path: Path) -> None:
    profile, samples = _random_profile(tmp_path)
    frames = svg_frames(draw(profile, Format.SVG, min_width=0.0))
    whole = sum(sample.value for sample in samples)
    assert len(frames) == len(profile.tree)
    for _, offset, value, frame in frames:
        rect = frame.find("{http://www.w3.org/2000/svg}rect")
        assert rect is not None
        assert float(rect.get("width", "").rstrip("%")) == pytest.approx(100 * value / whole, abs=1e-5)
        assert float(rect.get("x", "").rstrip("%")) == pytest.approx(100 * offset / whole, abs=1e-5)
    expected = {}
    for line in fold_plainly(samples):
        stack, _, value_text = line.rpartition(" ")
        for depth in range(1, stack.count(";") + 2):
            path = ";".join(stack.split(";")[:depth])
            expected[path] = expected.get(path, 0) + int(value_text)
    assert sorted(value for _, _, value, _ in frames) == sorted(expected.values())


def test_svg_text_stays_inside_its_frame(tmp_path: Path) -> None:
    profile, _ = _random_profile(tmp_path, 100)
    for name, _, value, frame in svg_frames(draw(profile, Format.SVG)):
        text = frame.findtext("{http://www.w3.org/2000/svg}text")
        if text is not None:
            assert text == name or (text.endswith("…") and name.startswith(text[:-1]))
            assert len(text) * 7 <= 1200 * value / profile.tree.value


def test_html_holds_the_same_tree(tmp_path: Path) -> None:
    profile, samples = _random_profile(tmp_path)
    data = page_data(draw(profile, Format.HTML))
    nodes, names = data["nodes"], data["symbols"]["name"]
    parents = np.cumsum(nodes["parent"]) - 1
    folded: dict[str, int] = {}
    paths: list[str] = []
    for parent, symbol, own in zip(parents.tolist(), nodes["symbol"], nodes["self"], strict=True):
        paths.append((paths[parent] + ";" if parent >= 0 else "") + names[symbol])
        if own:
            folded[paths[-1]] = own
    assert sorted(f"{stack} {value}" for stack, value in folded.items()) == sorted(fold_plainly(samples))
    assert data["value"] == sum(nodes["self"]) == sum(sample.value for sample in samples)
    assert sum(data["levels"]) == len(paths)


@pytest.mark.parametrize("form", [Format.HTML, Format.SVG])
def test_pruned_frames_are_told_and_their_weight_is_kept(tmp_path: Path, form: Format) -> None:
    profile, samples = _random_profile(tmp_path)
    picture = draw(profile, form, min_width=0.02)
    whole = sum(sample.value for sample in samples)
    told = re.search(r"([\d,]+) narrow frames with ([\d.]+) % of the weight are left out", picture)
    assert told
    if form is Format.HTML:
        data = page_data(picture)
        kept, selves, hidden = len(data["nodes"]["self"]), sum(data["nodes"]["self"]), sum(data["hidden"]["value"])
        assert selves + hidden == whole
        assert float(told[2]) == pytest.approx(100 * hidden / whole, abs=0.06)
    else:
        frames = svg_frames(picture)
        kept = len(frames)
        assert min(value for _, _, value, _ in frames) >= 0.02 * whole
    assert int(told[1].replace(",", "")) == len(profile.tree) - kept


def test_folded_lines_of_a_pruned_tree_keep_the_sum(tmp_path: Path) -> None:
    profile, samples = _random_profile(tmp_path)
    lines = draw(profile, Format.FOLDED, min_width=0.05).splitlines()
    assert len(lines) < len(fold_plainly(samples))
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == sum(sample.value for sample in samples)


@pytest.mark.parametrize("form", [Format.HTML, Format.SVG])
def test_hostile_names_are_inert(tmp_path: Path, form: Format) -> None:
    samples = [Sample(name[:40], (Frame(name, module=name), Frame(f"{name}2")), tid=i) for i, name in enumerate(NASTY)]
    path = write_store(tmp_path / "nasty.duckdb", samples, issues=[(NASTY[0], 1)])
    picture = draw(load(path, where=f"function <> '{NASTY[0]}'"), form, title=NASTY[0], root=NASTY[5])
    assert "<b>bold" not in picture
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028\ufffe]", picture)
    names = {printable(name) for name in NASTY} | {printable(f"{name}2") for name in NASTY}
    if form is Format.HTML:
        # Nothing in the data can end the script element it stands in, nor open a comment there.
        assert picture.count("</script>") == 2
        found = set(page_data(picture)["symbols"]["name"])
    else:
        found = {name for name, _, _, _ in svg_frames(picture)}
        assert picture.count("]]>") == 2
    assert names <= found


def test_printable_text_keeps_what_can_be_read() -> None:
    assert printable("std::vector<int>::push_back — ünï") == "std::vector<int>::push_back — ünï"
    assert printable("a\x1bb\nc\u202ed\u00a0e") == "a\\x1bb\\x0ac\\u202ed\u00a0e"


def test_no_file_refers_to_the_network(capture: Path) -> None:
    profile = load(capture)
    for form in (Format.HTML, Format.SVG):
        links = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[\w./]*", draw(profile, form)))
        # Names of XML namespaces, which no browser fetches.
        assert links <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}


@pytest.mark.parametrize("form", [Format.HTML, Format.SVG])
def test_the_picture_says_what_it_shows_and_how_far_to_trust_it(capture: Path, form: Format) -> None:
    picture = draw(load(capture, start="0s"), form, title="my <title>")
    assert "my &lt;title&gt;" in picture
    assert "capture-0 · cpu-clock:ppp: 100 ms · by thread name · time 0s to end" in picture
    assert "Found when the capture was read: lost_samples (12)." in picture
    # [app] weighs 10 ms of the 10 + 60 + 50 + 30 + 40 ms that all frames weigh together.
    assert "5% of the frames, by weight, have no symbol" in picture
    assert "are estimates" not in picture


def test_estimates_are_called_so(tmp_path: Path) -> None:
    path = write_store(tmp_path / "estimate.duckdb", [Sample("a", (MAIN,))], estimate=("cycles",))
    assert "Values of cycles are estimates" in draw(load(path), Format.HTML)
    assert "are estimates" not in draw(load(path, metric="samples"), Format.HTML)


@pytest.mark.parametrize("form", [Format.HTML, Format.SVG])
def test_orientation(capture: Path, form: Format) -> None:
    profile = load(capture)
    flame, icicle = draw(profile, form), draw(profile, form, icicle=True)
    if form is Format.HTML:
        assert (page_data(flame)["icicle"], page_data(icicle)["icicle"]) == (False, True)
        return
    for picture, is_deeper_lower in ((flame, False), (icicle, True)):
        tops = {name: float(frame[1].get("y", "")) for name, _, _, frame in svg_frames(picture)}
        assert (tops["read"] > tops["main"] > tops["app"]) == is_deeper_lower
        assert (tops["read"] < tops["main"] < tops["app"]) != is_deeper_lower


@pytest.mark.parametrize(
    ("symbol", "family"),
    [
        (Symbol("main", "/usr/bin/app", "user", False), Family.PROGRAM),
        (Symbol("read", "/usr/lib/libc.so.6", "user", False), Family.LIBRARY),
        (Symbol("read", "/usr/lib/libfoo-1.2.so", "user", True), Family.LIBRARY),
        (Symbol("gone", "/tmp/x.so (deleted)", "user", False), Family.LIBRARY),
        (Symbol("clock_gettime", "[vdso]", "user", False), Family.LIBRARY),
        (Symbol("main", "/opt/app.source", "user", False), Family.PROGRAM),
        (Symbol("vfs_read", "[kernel.kallsyms]", "kernel", False), Family.KERNEL),
        (Symbol("LFoo;::bar", "/tmp/perf-1.map", "jit", False), Family.JIT),
        (Symbol("run.py:12", "run.py", "interpreted", False), Family.INTERPRETED),
        (Symbol("vmx_run", "[guest.kernel]", "guest_kernel", False), Family.VIRTUAL),
        (Symbol("[libc.so.6]", "/usr/lib/libc.so.6", "user", False), Family.UNNAMED),
        (Symbol("[kernel.kallsyms]", "[kernel.kallsyms]", "kernel", False), Family.UNNAMED),
        (Symbol("[unknown]", None, "unknown", False), Family.UNNAMED),
        (Symbol("app", None, "group", False), Family.GROUP),
    ],
)
def test_family_of_a_symbol(symbol: Symbol, family: Family) -> None:
    assert symbol.family is family


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_every_colour(theme: str) -> None:
    colours = palette(theme)
    assert set(colours) == set(Family)
    for shades in colours.values():
        assert len(shades) == SHADES
        for colour in shades:
            assert contrast(colour, TEXT[theme]) >= CONTRAST > 4.5


def test_a_function_has_one_shade_for_ever() -> None:
    # CRC-32 as RFC 1952 defines it: 0xcbf43926 is the check value of "123456789".
    assert shade_of("123456789") == 0xCBF43926 % SHADES


def test_a_hundred_thousand_frames_make_a_file_of_a_few_megabytes() -> None:
    generator = np.random.default_rng(7)
    count = 100_000
    parent = np.concatenate([[-1], generator.integers(np.maximum(np.arange(1, count) - 5_000, 0), np.arange(1, count))])
    tree = merge(parent.astype(np.int64), np.arange(count), generator.integers(1, 1_000, count))
    symbols = [Symbol(f"ns::type_{i % 997}::method_{i}", "/usr/bin/app", "user", inlined=False) for i in range(count)]
    metric = Metric("cycles", "event", False, "sum", (), ())
    profile = Profile(tree, symbols, metric, (), Selection((1,), by=Grouping.NONE))
    page = draw(profile, Format.HTML)
    assert len(page_data(page)["nodes"]["self"]) == count
    assert len(page) < 6_000_000
    picture = draw(profile, Format.SVG)
    assert len(svg_frames(picture)) <= 10_000
    assert len(picture) < 4_000_000
