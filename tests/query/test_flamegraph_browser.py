"""The files at work in a browser: a script in a copy of each presses keys and clicks, and says what came of it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from tests.query.flame_store import Frame, Sample, write_store

from perfkit.query.flamegraph.options import Format, Options
from perfkit.query.flamegraph.palette import palette, shade_of
from perfkit.query.flamegraph.profile import load_profile
from perfkit.query.flamegraph.render import RENDERERS
from perfkit.query.flamegraph.selection import Selection
from perfkit.query.flamegraph.symbols import Family
from perfkit.schema.database import open_for_reading

HOSTILE = "</script><img src=x onerror=\"document.title='broken'\">"
SAMPLES = [
    Sample("app", (Frame("main"), Frame("alpha"), Frame("deep")), 60),
    Sample("app", (Frame("main"), Frame("beta")), 30),
    Sample("app", (Frame("main"), Frame("alphabet")), 8),
    Sample("app", (Frame("main"), Frame(HOSTILE)), 2),
]

_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1000,700",
    "--virtual-time-budget=20000",
]

_HELPERS = """
const said = [];
const $id = (id) => document.getElementById(id);
const say = () => said.push({
  details: $id("details").textContent, matched: $id("matched").textContent,
  hash: decodeURIComponent(location.hash).replaceAll("+", " "), theme: document.documentElement.dataset.theme || "",
});
const press = (...keys) => {
  const target = $id("scroller") || document.documentElement;
  keys.forEach((key) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })));
  say();
};
const finish = () => document.documentElement.setAttribute("data-said", JSON.stringify(said));
"""

Drive = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if browser is None:
        pytest.skip("no chromium is installed")
    folder = tmp_path_factory.mktemp("browser")
    with open_for_reading(write_store(folder / "store.duckdb", SAMPLES)) as connection:
        profile = load_profile(connection, Selection((1,)))

    def run(form: Format, script: str, address: str = "") -> list[dict[str, Any]]:
        text = "".join(RENDERERS[form].render(profile, Options()))
        end = "</body>" if form is Format.HTML else "</svg>"
        body = f"{_HELPERS}{script}"
        body = f"<script>{body}</script>" if form is Format.HTML else f"<script><![CDATA[{body}]]></script>"
        page = folder / f"page{RENDERERS[form].suffix}"
        page.write_text(text.replace(end, body + end))
        command = [browser, *_OPTIONS, f"--user-data-dir={folder / 'user'}", "--dump-dom", f"{page.as_uri()}{address}"]
        # The budget is of the browser's own time: where the machine is busy, it may be over before a frame was drawn.
        for _ in range(3):
            shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
            found = re.search(r'data-said="([^"]*)"', shown)
            if found:
                break
        assert found, f"the page's script did not come to its end: {shown[-2000:]}"
        said: list[dict[str, Any]] = json.loads(html.unescape(found[1]))
        return said

    return run


def test_page_answers_to_keys_and_search(drive: Drive) -> None:
    said = drive(
        Format.HTML,
        """
        press("ArrowUp"); press("ArrowUp", "ArrowUp"); press("ArrowUp"); press("ArrowRight"); press("Enter");
        press("ArrowDown"); press("Escape"); press("t");
        $id("search").value = "^alpha"; $id("search").dispatchEvent(new Event("input")); say();
        $id("search").value = "["; $id("search").dispatchEvent(new Event("input")); say();
        press("?"); said.push({ open: $id("keys").open }); finish();
        """,
    )
    details = [entry.get("details", "") for entry in said]
    assert details[0].startswith("all — 100 events, 100.0 % of all")
    assert details[1].startswith("main — 100 events, 100.0 % of all, 100.0 % of its caller")
    assert details[2].startswith("alpha — 60 events, 60.0 % of all, 60.0 % of its caller · self 0 events")
    assert details[3].startswith("beta — 30 events, 30.0 % of all")
    assert said[4]["hash"] == "#zoom=3:beta"
    assert details[5].startswith("main — ")
    assert said[6]["hash"] == ""
    assert {said[6]["theme"], said[7]["theme"]} == {"light", "dark"}
    assert said[8]["matched"] == "68.0 % matched"
    assert "search=^alpha" in said[8]["hash"]
    assert said[9]["matched"] == "0.0 % matched", "what is no regular expression is searched as it stands"
    assert said[-1] == {"open": True}


def test_page_draws_and_hits_what_it_shows(drive: Drive) -> None:
    said = drive(
        Format.HTML,
        """
        requestAnimationFrame(() => requestAnimationFrame(() => {
          const canvas = $id("canvas"), box = canvas.getBoundingClientRect();
          const ratio = canvas.width / box.width, row = 20;
          // Rows from the bottom: all, app, main, then alpha (0-60 %), beta (60-90 %) …
          [[0.3, 3.5], [0.75, 3.5], [0.3, 4.5], [0.75, 4.5]].forEach(([x, up]) => {
            const clientX = box.left + x * box.width, clientY = box.bottom - 2 - up * row + (row / 2) - 6;
            canvas.dispatchEvent(new MouseEvent("mousemove", { clientX, clientY, bubbles: true }));
            say();
            const near = canvas.getContext("2d").getImageData(clientX * ratio, (clientY - box.top) * ratio, 1, 1).data;
            const hex = [...near.slice(0, 3)].map((part) => part.toString(16).padStart(2, "0"));
            said[said.length - 1].colour = `#${hex.join("")}`;
          });
          finish();
        }));
        """,
        "#theme=light",
    )
    program = palette("light")[Family.PROGRAM]
    assert [entry["details"].split(" — ")[0] for entry in said[:3]] == ["alpha", "beta", "deep"]
    assert [entry["colour"] for entry in said[:3]] == [program[shade_of(name)] for name in ("alpha", "beta", "deep")]
    assert said[3]["details"].startswith("Point at a frame")


@pytest.mark.parametrize("form", [Format.HTML, Format.SVG])
def test_an_address_leads_to_a_view(drive: Drive, form: Format) -> None:
    said = drive(form, "say(); said.push({ title: document.title }); finish();", "#zoom=alpha&search=deep&theme=dark")
    assert said[0]["details"].startswith("alpha")
    assert said[0]["matched"] == "100.0 % matched"
    assert said[0]["theme"] == "dark"
    assert "broken" not in said[1]["title"]


def test_svg_answers_to_keys_and_clicks(drive: Drive) -> None:
    said = drive(
        Format.SVG,
        """
        const frame = (name) => [...document.querySelectorAll(".frame")]
          .find((f) => f.querySelector("title").textContent.startsWith(name + "\\n"));
        const width = (name) => frame(name).querySelector("rect").getAttribute("width");
        press("ArrowUp"); press("ArrowUp", "ArrowUp"); press("ArrowRight"); press("ArrowDown");
        frame("alpha").dispatchEvent(new MouseEvent("click", { bubbles: true })); say();
        said.push({ alpha: width("alpha"), main: width("main"), beta: frame("beta").style.display });
        press("t"); press("Escape"); said.push({ alpha: width("alpha"), beta: frame("beta").style.display });
        finish();
        """,
    )
    names = [entry.get("details", "").split(" · ")[0] for entry in said]
    assert names[:5] == ["app", "alpha", "beta", "main", "alpha"]
    assert said[4]["hash"] == "#zoom=2:alpha"
    assert said[5] == {"alpha": "100%", "main": "100%", "beta": "none"}
    assert said[6]["theme"] in ("dark", "light")
    assert said[7]["hash"].startswith("#theme=")
    assert said[8] == {"alpha": "60%", "beta": ""}
