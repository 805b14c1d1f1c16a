"""The largest files of one user, imported and exported, beside a second user."""

import pytest

from services.calendar.model import MOST_ROWS
from services.calendar.rules.ical.content import MOST_COMPONENTS
from tests.contract.calendar.person import Person
from tests.support.imported import a_file
from tests.support.neighbours import disturbance

pytestmark = pytest.mark.alone
_LARGEST_BYTES = 4 * 1024 * 1024


def many_events(number: int, text: str) -> bytes:
    """A file of recurring events, each with a reminder and a cancelled day."""
    return a_file(
        *(
            f"UID:{each}@example.org\nDTSTAMP:20260101T000000Z\nSUMMARY:Event {each}\nDESCRIPTION:{text}\n"
            f"DTSTART;TZID=Europe/Zurich:20270{1 + each % 9}01T070000\nDURATION:PT45M\nRRULE:FREQ=DAILY;COUNT=400\n"
            f"EXDATE;TZID=Europe/Zurich:20270{1 + each % 9}02T070000\n"
            "BEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT15M\nEND:VALARM\n"
            for each in range(number)
        )
    ).encode()


def many_overrides() -> bytes:
    """A file of events in which every occurrence is at another hour."""
    masters = [
        f"UID:{each}@example.org\nDTSTAMP:20260101T000000Z\nSUMMARY:Run\nDTSTART:20270101T070000Z\nDURATION:PT45M\n"
        f"RRULE:FREQ=DAILY;COUNT={MOST_ROWS}\n"
        for each in range(4)
    ]
    overrides = [
        f"UID:{each}@example.org\nDTSTAMP:20260101T000000Z\nSUMMARY:Run later\n"
        f"RECURRENCE-ID:{day}T070000Z\nDTSTART:{day}T190000Z\nDURATION:PT45M\n"
        for each in range(4)
        for month in range(1, 13)
        for day in (f"2027{month:02}{date:02}" for date in range(1, 29))
    ]
    return a_file(*masters, *overrides).encode()


@pytest.mark.parametrize(
    "file", [many_events(MOST_COMPONENTS // 2 - 100, "x" * 1300), many_overrides()], ids=["events", "overrides"]
)
async def test_the_largest_files_do_not_disturb_another(person: Person, file: bytes) -> None:
    assert len(file) <= _LARGEST_BYTES
    other = await person.another()

    async def work() -> None:
        for counted in ("created_count", "unchanged_count"):
            response = await person.files.ImportEvents(content=file, timeout=120)
            assert getattr(response, counted) > 0
            assert response.not_imported_count == 0
        token, pages = "", 0
        while token or not pages:
            page = await person.files.ExportEvents(page_size=200, page_token=token, timeout=120)
            token, pages = page.next_page_token, pages + 1

    (await disturbance(work(), lambda: other.events.ListEvents(timeout=60))).check()
