"""The proofs of `make prove QUICK=1`, on a stack of their own with two replicas of each service."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prove.plan import Plan
from prove.run import prove
from stack.layout import RUN


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    """A quick run in a folder of this test run."""
    folder = RUN / f"test-{os.getpid()}-prove"
    yield replace(Plan.from_environment({"QUICK": "1"}), folder=folder, report=tmp_path / "latest.json")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.alone
@pytest.mark.timeout(300)
def test_every_promise_holds_while_everything_is_killed_and_restarted(plan: Plan) -> None:
    promises = prove(plan)
    assert [promise for promise in promises if not promise.holds] == []
    written = json.loads(plan.report.read_text())
    assert written["seed"] == plan.seed
    assert [promise["name"] for promise in written["promises"]] == [promise.name for promise in promises]
