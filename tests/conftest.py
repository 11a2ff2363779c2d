"""On CI (`CI=true`) nothing is left out in silence: a test that skips has failed.

The only skips that stand there are those for want of captures, where the folder that holds them all is absent.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from tests.support import is_for_want_of_captures

_MARK = "PERFKIT_TESTS_ON_CI"
if os.environ.pop("CI", "").lower() in {"true", "1"}:
    # Where pytest sees CI it prints differences in full, and difflib takes hours over two long lists. The mark tells
    # xdist's workers, which inherit this environment.
    os.environ[_MARK] = "1"
_ON_CI = _MARK in os.environ


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write what golden tests see as what they expect")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (_ON_CI and report.skipped):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not is_for_want_of_captures(reason):
        report.outcome = "failed"
        report.longrepr = f"skipped, which no test may on CI: {reason}"
