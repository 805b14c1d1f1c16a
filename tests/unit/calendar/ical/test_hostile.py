"""Files that are made to cost much are read in bounded time. CALENDAR_FILES=10000 reads all of them."""

import os
import time
from contextlib import suppress

import pytest

from services.calendar.rules.ical.reading import TooLargeError, read
from tests.support.hostile_files import hostile_files

MOST_SECONDS = 20.0
"""Of CPU: what the process that reads files is given."""
ALL = int(os.environ.get("CALENDAR_FILES", "0")) >= 10_000
QUICK = {
    "folds",
    "one line of escapes",
    "quotes",
    "open quotes",
    "ends of what has not begun",
    "excluded days",
    "periods",
}
QUICK |= {"all that follow", "overrides of one event", "a zone that changes each second", "NUL", "what is no UTF-8"}
FILES = [(name, content) for name, content in hostile_files() if ALL or name in QUICK]


@pytest.mark.parametrize(("name", "content"), FILES, ids=[name for name, _ in FILES])
def test_a_file_that_is_made_to_cost_much_is_read_in_bounded_time(name: str, content: bytes) -> None:
    began = time.process_time()
    with suppress(TooLargeError):
        assert list(read(content, "Europe/Berlin"))
    assert time.process_time() - began < MOST_SECONDS
