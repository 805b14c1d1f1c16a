"""The content lines of a file and the components that they make.

Linear in the size of the file, whatever is in it. Parameters are parsed by `icalendar`, and only where they are needed;
its own parser of whole files knows no lines, and its time is not bounded.
"""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from icalendar import Parameters

_LINE = re.compile(rb"([^\r\n]*+)(?:\r\n|\r|\n|\Z)")
_PROPERTY = re.compile(r"\s*([A-Za-z0-9._-]+)\s*((?:;(?:[^\":]++|\"[^\"]*+\")*+)?):(.*)", re.DOTALL)
_TIMES = frozenset({"DTSTART", "DTEND", "DUE", "RECURRENCE-ID", "EXDATE", "RDATE"})
"""No value of theirs has a colon."""
_TZID_OPEN = re.compile(r"(;TZID=)([^\";]*)\Z", re.IGNORECASE)
"""Names of zones of Exchange have colons, which some programs write without the quotes that RFC 5545 asks for."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_PARAMETERS = 4_000
_MOST_DEPTH = 20
MOST_LINES = 300_000
"""So that a file of tiny lines does not take a hundred times its size in memory."""
_NEVER_WITHIN = frozenset({"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VTIMEZONE"})
"""Components that stand in a calendar only: where one begins, the one before is broken off."""


class TooManyLinesError(ValueError):
    """A file has more content lines than may be read."""


class ParametersError(ValueError):
    """The parameters of a property cannot be read."""


class Property(NamedTuple):
    """One content line, unfolded."""

    name: str
    """In capital letters."""
    head: str
    """Its parameters as they are in the file."""
    value: str
    line: int
    is_damaged: bool
    """It held bytes that are not UTF-8."""

    def parameters(self) -> Mapping[str, str]:
        """The parameters by name in capital letters; commas may be within one. Raises ParametersError."""
        if not self.head:
            return {}
        if len(self.head) > _LONGEST_PARAMETERS:
            raise ParametersError("has parameters that are too long")
        try:
            found = Parameters.from_ical(self.head.strip("; \t"))
        except ValueError:
            raise ParametersError("has parameters that cannot be read") from None
        return {
            name.strip().upper(): (value if isinstance(value, str) else ",".join(value)).strip()
            for name, value in found.items()
        }


class Component:
    """What stands between BEGIN and END."""

    __slots__ = ("broken_at", "calendar", "components", "is_whole", "line", "name", "properties")

    def __init__(self, name: str, line: int) -> None:
        """line: that of its BEGIN."""
        self.name, self.line = name, line
        self.properties: list[Property] = []
        self.components: list[Component] = []
        self.calendar = 0
        """In which of the calendars of the file it stands."""
        self.is_whole = False
        """Its END was found."""
        self.broken_at = line
        """The line at which it breaks off, when it does."""

    def all(self, name: str) -> list[Property]:
        """The properties of a name."""
        return [each for each in self.properties if each.name == name]

    def first(self, name: str) -> Property | None:
        """The first property of a name."""
        return next((each for each in self.properties if each.name == name), None)


Broken = Callable[[Component, int, str], None]
"""Is told of a line that cannot be read: in which component, which line, and what is wrong with it."""


def in_utf8(content: bytes) -> bytes:
    """The content of a file in UTF-8, also of one that says by its first bytes that it is in UTF-16."""
    if not content.startswith((BOM_UTF16_BE, BOM_UTF16_LE)):
        return content
    return content.decode("utf-16", errors="replace").encode()


def content_lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The unfolded lines, each with the number of its first line, from 1; empty ones are left out."""
    parts, first = list[bytes](), 1
    for number, found in enumerate(_LINE.finditer(content.removeprefix(_BYTE_ORDER_MARK)), start=1):
        line = found[1]
        if not line:
            continue
        if line[0] in b" \t" and parts:
            parts.append(line[1:])
            continue
        if parts:
            yield first, b"".join(parts)
        parts, first = [line], number
    if parts:
        yield first, b"".join(parts)


def calendars(content: bytes, broken: Broken) -> Iterator[Component]:
    """The components on the outermost level, in order. Raises TooManyLinesError."""
    stack: list[Component] = []
    last = 1
    for count, (last, raw) in enumerate(content_lines(content)):
        if count == MOST_LINES:
            raise TooManyLinesError(f"more than {MOST_LINES} lines")
        found = _property(raw, last)
        outside = stack[-1] if stack else Component("VCALENDAR", last)
        if found is None:
            broken(outside, last, "is not a content line, which is NAME:VALUE")
        elif found.name == "BEGIN":
            yield from _begin(stack, Component(found.value.strip().upper()[:100], last), broken)
        elif found.name == "END":
            yield from _end(stack, found, broken)
        elif stack:
            stack[-1].properties.append(found)
        else:
            broken(outside, last, "stands outside of a calendar")
    for component in reversed(stack):
        component.broken_at = last
        if component.name not in _NEVER_WITHIN:
            broken(
                component, last, f"the file breaks off within {component.name}, which began in line {component.line}"
            )
    yield from stack[:1]


def _begin(stack: list[Component], component: Component, broken: Broken) -> Iterator[Component]:
    keep = len(stack)
    if component.name == "VCALENDAR":
        keep = 0
    elif component.name in _NEVER_WITHIN:
        keep = next((depth for depth, each in enumerate(stack) if each.name in _NEVER_WITHIN), keep)
    for each in stack[keep:]:
        each.broken_at = component.line
    if keep == 0:
        yield from stack[:1]
    del stack[keep:]
    if len(stack) == _MOST_DEPTH:
        broken(stack[-1], component.line, f"{component.name} stands within too many components")
        return
    if stack:
        stack[-1].components.append(component)
    stack.append(component)


def _end(stack: list[Component], found: Property, broken: Broken) -> Iterator[Component]:
    name = found.value.strip().upper()[:100]
    depth = next((index for index in range(len(stack) - 1, -1, -1) if stack[index].name == name), None)
    if depth is None:
        broken(
            stack[-1] if stack else Component("VCALENDAR", found.line),
            found.line,
            f"END of {name}, which has not begun",
        )
        return
    for each in stack[depth + 1 :]:
        each.broken_at = found.line
    stack[depth].is_whole = True
    component = stack[depth]
    del stack[depth:]
    if not stack:
        yield component


def _property(raw: bytes, line: int) -> Property | None:
    try:
        text, is_damaged = raw.decode(), False
    except UnicodeDecodeError:
        text, is_damaged = raw.decode(errors="replace"), True
    found = _PROPERTY.fullmatch(text)
    if found is None:
        return None
    name, head, value = found[1].upper(), found[2], found[3]
    if name in _TIMES and ":" in value and _TZID_OPEN.search(head):
        within, _, value = value.rpartition(":")
        head = _TZID_OPEN.sub(lambda tzid: f'{tzid[1]}"{tzid[2]}:{within}"', head)
    return Property(name, head, value, line, is_damaged)
