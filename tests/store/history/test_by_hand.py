"""Which of the sessions that were added by hand are read to be taken out of another."""

from mesh.database.pool import Database
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.history.model import Interval, IntervalKind, Recorded, Span
from services.history.rules.sessions import spanned
from services.history.store import recordings

USER = new_id()
DELETED = {"deleted_at": 0, "purge_at": 0}


def worked(*times: tuple[int, int], is_manual: bool = False) -> Recorded:
    """A session that was at work from each of these seconds to another."""
    spans = tuple(Span(begin * SECOND, end * SECOND, None) for begin, end in times)
    intervals = (Interval(1, IntervalKind.FOCUS, 1500, 0, False, spans),)
    return spanned(Recorded(new_id(), USER, None, None, intervals, {}, None, None, None, is_manual))


async def read(db: Database, by_hand: list[Recorded], *ran: Recorded) -> dict[str, list[tuple[int, int]]]:
    async with db.transaction() as tx:
        await recordings.put(tx, by_hand)
        return await recordings.list_by_hand(tx, ran, 50)


async def test_only_those_are_read_that_were_at_work_meanwhile(databases: list[Database]) -> None:
    by_hand = [worked((begin, begin + 1), is_manual=True) for begin in (9, 10, 19, 20, 50)]
    deleted = worked((12, 13), is_manual=True)._replace(**DELETED)
    mine, other = worked((10, 20), (30, 40)), worked((50, 60))
    gone, empty = worked((10, 20))._replace(**DELETED), worked()
    found = await read(databases[0], [*by_hand, deleted, worked((14, 15))], mine, other, gone, empty)
    assert found == {
        mine.id: [(10 * SECOND, 11 * SECOND), (19 * SECOND, 20 * SECOND)],
        other.id: [(50 * SECOND, 51 * SECOND)],
    }


async def test_of_very_many_the_first_and_the_last_are_read(databases: list[Database]) -> None:
    ran = [worked((begin, 1000)) for begin in range(120)]
    found = await read(databases[0], [worked((at, at + 1), is_manual=True) for at in range(120, 1000, 2)], *ran)
    first = [(at * SECOND, (at + 1) * SECOND) for at in range(120, 220, 2)]
    assert found == {each.id: [*first, (998 * SECOND, 999 * SECOND)] for each in ran}
