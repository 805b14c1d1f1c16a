"""The RPCs of the audit log. All of them read."""

from focusmesh.audit.v1 import audit_service_pb2 as pb
from focusmesh.audit.v1 import audit_service_pb2_grpc

from mesh import clock
from mesh.db import Database
from mesh.guard import Context, caller
from mesh.pagination import Pages
from services.audit import store, wire
from services.audit.errors import AuditRecordNotFound
from services.audit.rules import Walk

WALK = 10_000
"""Records that one call verifies."""
_STEP = 250
"""Records that are hashed between two statements: a few milliseconds, during which nothing else runs."""


class AuditHandlers(audit_service_pb2_grpc.AuditServiceServicer):
    """Serves focusmesh.audit.v1.AuditService."""

    def __init__(self, database: Database, pages: Pages) -> None:
        self._database, self._pages = database, pages

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        """A page of the caller's records, newest first."""
        user_id = caller(context).user_id
        page = self._pages.read(request, user_id)
        async with self._database.connection() as connection:
            records = await store.list_records(
                connection,
                user_id,
                before_position=int(page.after[0] or 0) if page.after else None,
                task_id=request.task_id if request.HasField("task_id") else None,
                event_types=request.event_types,
                recorded_from=clock.of(request.recorded_from) if request.HasField("recorded_from") else None,
                recorded_before=clock.of(request.recorded_before) if request.HasField("recorded_before") else None,
                limit=page.limit(),
            )
        shown = records[: page.size]
        answer = pb.ListAuditRecordsResponse(audit_records=map(wire.record_to_pb, shown))
        if len(records) > page.size:
            answer.next_page_token = self._pages.next_token(page, [shown[-1].chain_position])
        return answer

    async def GetAuditRecord(self, request: pb.GetAuditRecordRequest, context: Context) -> pb.GetAuditRecordResponse:
        """One of the caller's records."""
        async with self._database.connection() as connection:
            record = await store.get_record(connection, caller(context).user_id, request.audit_record_id)
        if record is None:
            raise AuditRecordNotFound(audit_record_id=request.audit_record_id)
        return pb.GetAuditRecordResponse(audit_record=wire.record_to_pb(record))

    async def VerifyAuditRecords(
        self, request: pb.VerifyAuditRecordsRequest, context: Context
    ) -> pb.VerifyAuditRecordsResponse:
        """Walks the caller's chain, as it is at one moment."""
        user_id = caller(context).user_id
        before = max(request.from_position, 1) - 1
        async with self._database.transaction() as tx:
            await store.freeze(tx)
            head = await store.get_head(tx, user_id)
            start = await store.get_link(tx, user_id, before)
            if start is None:
                return _nothing_there(before, end=head.position)
            walk = Walk(start)
            ended = False
            while walk.broken is None and walk.checked < WALK and not ended:
                records = await store.list_chain(tx, user_id, after=walk.link.position, limit=_STEP)
                walk.follow(records)
                ended = len(records) < _STEP
        if ended:
            walk.finish(head)
        return pb.VerifyAuditRecordsResponse(
            intact=walk.broken is None,
            records_checked=walk.checked,
            broken_position=walk.broken,
            next_position=None if ended or walk.broken else walk.link.position + 1,
            last_hash=walk.link.hash,
        )


def _nothing_there(position: int, *, end: int) -> pb.VerifyAuditRecordsResponse:
    """The answer when no record is at the place before the first to walk: beyond the end nothing is wrong."""
    return pb.VerifyAuditRecordsResponse(intact=position > end, broken_position=None if position > end else position)
