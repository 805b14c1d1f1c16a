"""The guides: what they tell the reader to paste works, in order, in one shell."""

import os
import re
import subprocess

from stack.layout import ROOT
from stack.stack import Stack

_SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def pasted(guide: str, stack: Stack) -> list[str]:
    """Runs every block of a guide in one shell; returns what it prints, line by line."""
    text = (ROOT / "docs" / "guides" / guide).read_text()
    done = subprocess.run(
        ["bash", "-eu"],
        input="\n".join(_SHELL.findall(text)),
        env={**os.environ, "API": stack.gateway_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_a_timer_client_is_built_as_its_guide_says(stack: Stack) -> None:
    made, drawn, skipped, synced, task, tasks, outcome, archived, *guest = pasted("timer-client.md", stack)
    assert '"state":"FOCUS_SESSION_STATE_RUNNING"' in made
    assert re.fullmatch(r"FOCUS 2[45]:\d\d", drawn)
    assert (skipped, synced) == ("INTERVAL_KIND_SHORT_BREAK", "SYNC_RESULT_CONFIRMED")
    assert (len(task), tasks) == (36, "1")
    assert outcome in ("FOCUS_SESSION_OUTCOME_PARTIAL", "FOCUS_SESSION_OUTCOME_ABANDONED"), "by how fast it was pasted"
    assert archived == "ARCHIVED_SESSION_STATE_FINISHED"
    assert guest == ["Try it out", "1", "Try it out"]


def test_a_todo_client_is_built_as_its_guide_says(stack: Stack) -> None:
    created, listed, *changed, preview = (lines := pasted("todo-client.md", stack))[:6]
    assert '"state":"TASK_STATE_PENDING"' in created
    assert listed == "Write the report"
    assert changed == ["VERSION_CONFLICT", "TASK_STATE_IN_PROGRESS", "TASK_STATE_COMPLETE"]
    assert preview == "2027-01-31 2027-02-28SLOT_MOVE_CLAMP 2027-03-31"
    assert lines[6:10] == ["True", "the next one is there", "TASK_STATE_PENDING", "undone"]
    assert lines[10:13] == ["True", "Water all the plants", "COMPLETION_TIMING_SKIPPED"]
    assert lines[13:] == ["Tea", "Tea", "1", "0"]


def test_a_plan_becomes_history_as_its_guide_says(stack: Stack) -> None:
    state, reminded, running, again, *rest = pasted("plan-to-history.md", stack)
    assert (state, running, again) == ("EVENT_STATE_PLANNED", "FOCUS_SESSION_STATE_RUNNING", "False")
    assert "Write" in reminded
    outcome, complete, figures, planned, estimated = rest
    assert (outcome, complete) == ("FOCUS_SESSION_OUTCOME_PARTIAL", "the occurrence is complete")
    assert "'plannedMinutes': 50" in figures
    assert "'completedCount': 1" in figures
    assert (planned, estimated) == ("50", "2")


def test_an_app_does_what_every_app_does_as_its_guide_says(stack: Stack) -> None:
    lines = pasted("app-developers.md", stack)
    assert lines == ["one task", "Write the report", "Report", "VERSION_CONFLICT"]
