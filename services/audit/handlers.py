"""The RPCs of the audit log, all read-only."""

import asyncio
import time

from focusmesh.audit.v1 import audit_service_pb2 as pb
from focusmesh.audit.v1 import audit_service_pb2_grpc as rpc

from mesh.database.pool import Database
from mesh.rpc.call import Context, current_call
from mesh.rpc.pagination import Pages
from mesh.runtime.slices import in_slices
from services.audit import store, wire
from services.audit.errors import AuditChainShorter
from services.audit.rules import ChainVerifier

MOST_RECORDS = 10_000
LONGEST_SECONDS = 5.0
"""Time after which a call stops verifying and returns `next_position`: a third of its deadline."""
_STEP = 50
"""Most records per statement."""


class AuditHandlers(rpc.AuditServiceServicer):
    """The caller's log."""

    def __init__(self, db: Database, pages: Pages) -> None:
        self.db, self.pages = db, pages
        self._step = asyncio.Lock()

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        user_id = current_call().user_id
        chosen, page = wire.filter_from_pb(request), self.pages.read(request, user_id)
        async with self.db.connection() as connection:
            records, fit = await store.list_records(connection, user_id, chosen, page)
        response, shown = pb.ListAuditRecordsResponse(), records[: min(page.size, fit)]
        await in_slices(wire.record_to_pb(record, response.audit_records.add()) for record in shown)
        return self.pages.cut(response, records, page, store.page_key)

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
            await store.use_snapshot(tx)
            head = await store.get_head(tx, user_id)
            start = await store.find_link(tx, user_id, before)
        if start is None:
            if before > head.position:
                raise AuditChainShorter(from_position=request.from_position, last_position=head.position)
            return pb.VerifyAuditRecordsResponse(broken_position=before)
        verifier, ended = ChainVerifier(start), False
        stop = time.monotonic() + LONGEST_SECONDS
        while verifier.broken is None and not ended and verifier.checked < MOST_RECORDS and time.monotonic() < stop:
            async with self._step:  # one at a time, to bound memory and the work per iteration of the loop
                ended = await self._verify_step(user_id, verifier)
        return pb.VerifyAuditRecordsResponse(
            intact=verifier.broken is None,
            records_checked=verifier.checked,
            broken_position=verifier.broken,
            next_position=None if ended or verifier.broken else verifier.head.position + 1,
            last_hash=verifier.head.hash,
        )

    async def _verify_step(self, user_id: str, verifier: ChainVerifier) -> bool:
        """Verifies the next records; returns whether the chain ends with them.

        They are hashed once the connection is released, or a few verifications would hold every connection. The head
        is read in the snapshot of the records, because the chain grows meanwhile.
        """
        async with self.db.transaction() as tx:
            await store.use_snapshot(tx)
            head = await store.get_head(tx, user_id)
            records = await store.list_chain(tx, user_id, after=verifier.head.position, limit=_STEP)
        before = verifier.checked
        await in_slices(verifier.follow(records))
        ended = verifier.checked == before
        if ended:
            verifier.finish(head)
        return ended
