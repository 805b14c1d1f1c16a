"""What a proof reports to people and scripts."""

import json
from pathlib import Path

import pytest

from prove import promises
from prove.plan import Plan
from prove.promises import Promise
from stack.errors import StackError


def test_a_promise_holds_when_there_is_nothing_to_complain_about() -> None:
    assert Promise.unless([], "order", "9 of 9").holds
    assert not Promise.unless(["one is early"], "order", "8 of 9").holds


def test_a_broken_promise_is_shown_with_some_of_its_complaints(capsys: pytest.CaptureFixture[str]) -> None:
    promises.show(Promise.unless([f"violation {number}" for number in range(8)], "order", "0 of 8"))
    output = capsys.readouterr().out
    assert output.startswith("  ✗ order")
    assert "violation 4" in output
    assert "violation 5" not in output
    assert "and 3 more" in output


def test_scripts_get_seed_and_promises(tmp_path: Path) -> None:
    path = tmp_path / "prove" / "latest.json"
    promises.write(path, 7, [Promise("order", "8 of 9", holds=False, violations=["the third is missing"])])
    entry = {"name": "order", "figure": "8 of 9", "holds": False, "violations": ["the third is missing"]}
    assert json.loads(path.read_text()) == {"seed": 7, "promises": [entry]}


def test_a_run_without_a_seed_makes_one_that_can_be_given() -> None:
    first, second = (Plan.from_environment({}).seed for _ in range(2))
    assert first != second
    assert Plan.from_environment({"SEED": str(first)}).seed == first


def test_a_quick_run_is_shorter() -> None:
    whole, quick = Plan.from_environment({}), Plan.from_environment({"QUICK": "1"})
    assert (whole.rate, quick.rate) == (200, 60)
    assert quick.interval_seconds < whole.interval_seconds


def test_a_seed_that_is_no_number_is_refused() -> None:
    with pytest.raises(StackError, match="SEED=x"):
        Plan.from_environment({"SEED": "x"})
