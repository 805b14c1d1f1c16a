"""What became of an imported file, as its messages."""

from collections import Counter
from collections.abc import Sequence

from focusmesh.calendar.v1 import calendar_file_service_pb2 as pb
from focusmesh.todo.v1.task_planning_service_pb2 import ImportedTask

from mesh.runtime.clock import set_timestamp
from services.calendar.rules.ical.content import MOST_ISSUES, Issue, IssueKind, ReadTask, Summary
from services.calendar.rules.ical.plan import Outcome

_KINDS = {
    IssueKind.NOT_IMPORTED: pb.IMPORT_ISSUE_KIND_NOT_IMPORTED,
    IssueKind.NOT_KEPT: pb.IMPORT_ISSUE_KIND_NOT_KEPT,
}


def report_to_pb(
    outcomes: Counter[Outcome], summary: Summary, more: Sequence[Issue], tasks: Counter[bool]
) -> pb.ImportEventsResponse:
    """more: issues that the calendar found. tasks: how many were new, and how many were not."""
    issues = sorted((*summary.issues, *more), key=lambda issue: issue.line)
    shown = sorted(sorted(issues, key=lambda issue: issue.weight)[:MOST_ISSUES], key=lambda issue: issue.line)
    return pb.ImportEventsResponse(
        created_count=outcomes[Outcome.CREATED],
        updated_count=outcomes[Outcome.UPDATED],
        unchanged_count=outcomes[Outcome.UNCHANGED],
        not_imported_count=summary.not_imported_count + outcomes[Outcome.NOT_IMPORTED],
        tasks_created_count=tasks[True],
        tasks_unchanged_count=tasks[False],
        issues=[_issue_to_pb(issue) for issue in shown],
        issue_count=summary.issue_count + len(more),
    )


def task_to_pb(task: ReadTask) -> ImportedTask:
    """A task for todo."""
    message = ImportedTask(uid=task.uid, title=task.title, description=task.description, is_complete=task.is_complete)
    if task.due_at is not None:
        set_timestamp(message.due_time, task.due_at)
    if task.completed_at is not None and task.is_complete:
        set_timestamp(message.complete_time, task.completed_at)
    return message


def _issue_to_pb(issue: Issue) -> pb.ImportIssue:
    return pb.ImportIssue(
        kind=_KINDS[IssueKind(issue.kind)],
        component=issue.component,
        uid=issue.uid,
        property=issue.property,
        line=issue.line,
        description=issue.description,
    )
