"""The RPCs of the audit log. All of them read."""

from focusmesh.audit.v1 import audit_service_pb2 as pb
from focusmesh.audit.v1 import audit_service_pb2_grpc as rpc

from mesh.database.pool import Database
from mesh.rpc.call import Context, current_call
from mesh.rpc.pagination import Pages
from services.audit import store, wire
from services.audit.rules import ChainVerifier

WALK = 10_000
"""Records that one call verifies."""
_STEP = 250
"""Records that are hashed between two statements: a few milliseconds, during which nothing else runs."""


class AuditHandlers(rpc.AuditServiceServicer):
    """The caller's log."""

    def __init__(self, db: Database, pages: Pages) -> None:
        self.db, self.pages = db, pages

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        user_id = current_call().user_id
        chosen, page = wire.filter_from_pb(request), self.pages.read(request, user_id)
        async with self.db.connection() as connection:
            records = await store.list_records(connection, user_id, chosen, page)
        shown, next_page_token = self.pages.cut(records, page, store.page_key)
        response = pb.ListAuditRecordsResponse(next_page_token=next_page_token)
        for record in shown:
            wire.record_to_pb(record, response.audit_records.add())
        return response

    async def GetAuditRecord(self, request: pb.GetAuditRecordRequest, context: Context) -> pb.GetAuditRecordResponse:
        async with self.db.connection() as connection:
            record = await store.get_record(connection, current_call().user_id, request.audit_record_id)
        return pb.GetAuditRecordResponse(audit_record=wire.record_to_pb(record))

    async def VerifyAuditRecords(
        self, request: pb.VerifyAuditRecordsRequest, context: Context
    ) -> pb.VerifyAuditRecordsResponse:
        user_id = current_call().user_id
        before = max(request.from_position, 1) - 1
        async with self.db.transaction() as tx:
            await store.freeze(tx)
            head = await store.get_head(tx, user_id)
            start = await store.find_link(tx, user_id, before)
            if start is None:
                return _nothing_there(before, end=head.position)
            walk, ended = ChainVerifier(start), False
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
