"""What focus sessions count to the tasks that were worked on in them. Pure."""

from collections.abc import Sequence

from services.todo.model import FocusReport, FocusSession, Totals


def report(session: FocusSession, report: FocusReport) -> FocusSession:
    """The focus session after a report."""
    if report.is_correction:
        return session._replace(corrected=report.totals, is_removed=report.is_deleted)
    return session._replace(totals=report.totals, is_deleted=report.is_deleted)


def counted(session: FocusSession) -> Totals:
    """What counts of a focus session: as history has it, once history has said so, which then follows pomodoro too."""
    if session.corrected is None:
        return {} if session.is_deleted else session.totals
    return {} if session.is_removed else session.corrected


def moved(before: Sequence[FocusSession], after: Sequence[FocusSession]) -> dict[tuple[str, str], list[int]]:
    """Seconds and pomodoros by which the sums of tasks change, by user and task."""
    sums: dict[tuple[str, str], list[int]] = {}
    for sign, sessions in ((-1, before), (1, after)):
        for session in sessions:
            for task_id, (seconds, pomodoros) in counted(session).items():
                total = sums.setdefault((session.user_id, task_id), [0, 0])
                total[0] += sign * seconds
                total[1] += sign * pomodoros
    return {task: total for task, total in sums.items() if any(total)}
