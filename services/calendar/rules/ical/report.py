"""Gathers what could not be kept of a file."""

from heapq import heappush, heappushpop

from services.calendar.rules.ical.content import MOST_ISSUES, Issue, IssueKind, Summary, Weight
from services.calendar.rules.ical.lines import Component


class Refused(Exception):  # noqa: N818 (says what becomes of the component)
    """A component cannot be imported, or a property not kept; names the property, or its part."""

    def __init__(self, part: str, description: str, line: int) -> None:
        """line: of the file, from 1."""
        self.part, self.description, self.line = part, description, line
        super().__init__(f"line {line}: {part}: {description}")


class Report:
    """The issues of a file. Of too many the weightiest are shown, of those the first."""

    def __init__(self) -> None:
        """Empty."""
        self._kept: list[tuple[int, int, int, Issue]] = []
        self._count = self._not_imported = 0

    def not_imported(self, component: Component, uid: str, refused: Refused) -> None:
        """A component was not imported."""
        self._not_imported += 1
        self._add(IssueKind.NOT_IMPORTED, Weight.LOST, component, uid, refused)

    def not_kept(self, component: Component, uid: str, refused: Refused, weight: Weight = Weight.CHANGED) -> None:
        """A component was imported without a property, or with another value of it."""
        self._add(IssueKind.NOT_KEPT, weight, component, uid, refused)

    def _add(self, kind: IssueKind, weight: Weight, component: Component, uid: str, refused: Refused) -> None:
        self._count += 1
        issue = Issue(
            kind, component.name[:50], uid[:255], refused.part[:50], refused.line, refused.description[:300], weight
        )
        item = (-weight, -refused.line, -self._count, issue)
        if len(self._kept) < MOST_ISSUES:
            heappush(self._kept, item)
        else:
            heappushpop(self._kept, item)

    def summary(self) -> Summary:
        """What was gathered."""
        shown = [issue for *_, issue in sorted(self._kept, key=lambda item: (-item[1], -item[2]))]
        return Summary(shown, self._count, self._not_imported)
