"""The documents say what is so: their sessions are run again, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.sessions import DOCUMENTS, rerun
from tests.support import ROOT

LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
PAGES = sorted(
    path.relative_to(ROOT) for pattern in ("*.md", "docs/*.md", "fixtures/**/*.md") for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_sessions_read_as_they_run(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert "```console\n" in text
    assert rerun(text) == text, f"{name} is stale: `make docs` writes it anew"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall((ROOT / page).read_text("utf-8")):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_the_readme_names_the_two_commands_early() -> None:
    screen = (ROOT / "README.md").read_text("utf-8").splitlines()[:24]
    assert "    make demo" in "\n".join(screen)
    assert "    make test" in "\n".join(screen)
