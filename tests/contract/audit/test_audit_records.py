"""The audit log as its owner reads it."""

import hashlib

import grpc
import pytest
import rfc8785
from focusmesh.audit.v1 import audit_record_pb2 as pb_record
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.runtime.ids import new_id
from tests.contract.audit.audit_log import Log, Tamper
from tests.support.audit_records import Recorder
from tests.support.errors import refused
from tests.support.session_events import largest_session

RECORDED = 1_770_544_800_012_345


async def test_a_record_says_everything_about_its_event(log: Log, recorded: Recorder) -> None:
    [written] = await recorded(title="Buy groceries", now=RECORDED)
    record = (await log.GetAuditRecord(audit_record_id=written.id)).audit_record
    assert MessageToDict(record) == {
        "id": written.id,
        "eventId": written.event_id,
        "eventType": "task-created",
        "taskId": written.task_id,
        "payload": {"payload": {"title": "Buy groceries"}},
        "sourceService": "todo",
        "recordTime": "2026-02-08T10:00:00.012345Z",
        "chainPosition": 1,
        "hash": written.hash,
        "subjectType": "SUBJECT_TYPE_TASK",
    }


@pytest.mark.parametrize(("source", "subject_type"), [
    ("todo", pb_record.SUBJECT_TYPE_TASK),
    ("pomodoro", pb_record.SUBJECT_TYPE_FOCUS_SESSION),
    ("history", pb_record.SUBJECT_TYPE_ARCHIVED_SESSION),
    ("calendar", pb_record.SUBJECT_TYPE_CALENDAR_EVENT),
    ("another", pb_record.SUBJECT_TYPE_UNSPECIFIED),
])  # fmt: skip
async def test_a_record_says_what_its_event_was_about(
    log: Log, recorded: Recorder, source: str, subject_type: int
) -> None:
    [written] = await recorded(source=source)
    record = (await log.GetAuditRecord(audit_record_id=written.id)).audit_record
    assert (record.subject_type, record.task_id) == (subject_type, written.task_id)


async def test_pages_of_the_largest_records_are_shorter_and_have_every_record(log: Log, recorded: Recorder) -> None:
    written = await recorded(7, source="pomodoro", **largest_session())
    seen: list[str] = []
    token = ""
    while not seen or token:
        page = await log.ListAuditRecords(page_token=token)
        assert 1 <= len(page.audit_records) <= 4
        seen += [record.id for record in page.audit_records]
        token = page.next_page_token
    assert seen == [record.id for record in reversed(written)]


async def test_anybody_can_verify_the_chain_from_the_responses_alone(log: Log, recorded: Recorder) -> None:
    await recorded(3, title="Ünïcödé 😀", share=0.1, whole=5.0, nothing=None)
    listed = (await log.ListAuditRecords()).audit_records
    previous = ""
    for position, record in enumerate(reversed(listed), start=1):
        said = {
            "chain_position": position,
            "event_id": record.event_id,
            "event_type": record.event_type,
            "id": record.id,
            "payload": MessageToDict(record.payload),
            "previous_hash": previous,
            "recorded_at_us": record.record_time.ToMicroseconds(),
            "source_service": record.source_service,
            "task_id": record.task_id,
            "user_id": log.user_id,
        }
        assert hashlib.sha256(rfc8785.dumps(said)).hexdigest() == record.hash
        assert record.previous_hash == previous
        previous = record.hash


async def test_pages_follow_one_another_and_end(log: Log, recorded: Recorder) -> None:
    written = await recorded(5)
    seen: list[str] = []
    token = ""
    for size in (2, 2, 1):
        page = await log.ListAuditRecords(page_size=2, page_token=token)
        assert len(page.audit_records) == size
        seen += [record.id for record in page.audit_records]
        token = page.next_page_token
    assert not token
    assert seen == [record.id for record in reversed(written)]


async def test_records_that_come_meanwhile_do_not_move_the_pages(log: Log, recorded: Recorder) -> None:
    written = await recorded(4)
    first = await log.ListAuditRecords(page_size=2)
    await recorded(3)
    second = await log.ListAuditRecords(page_size=2, page_token=first.next_page_token)
    assert [record.id for record in second.audit_records] == [written[1].id, written[0].id]


async def test_a_page_token_belongs_to_its_filters_and_to_its_user(log: Log, recorded: Recorder) -> None:
    await recorded(3)
    token = (await log.ListAuditRecords(page_size=1)).next_page_token
    with refused("PAGE_TOKEN_INVALID"):
        await log.ListAuditRecords(page_size=1, page_token=token, event_types=["task-created"])
    with refused("PAGE_TOKEN_INVALID"):
        await log.another_user().ListAuditRecords(page_size=1, page_token=token)
    with refused("PAGE_TOKEN_INVALID"):
        await log.ListAuditRecords(page_token=token[:-2] + "xx")


async def test_filters_narrow_the_list(log: Log, recorded: Recorder) -> None:
    task = new_id()
    [created] = await recorded(task_id=task, now=1_000_000)
    [deleted] = await recorded(task_id=task, event_type="task-deleted", now=2_000_000)
    [other] = await recorded(now=3_000_000)

    async def listed(**filters: object) -> list[str]:
        return [record.id for record in (await log.ListAuditRecords(**filters)).audit_records]

    assert await listed(subject_id=task) == [deleted.id, created.id]
    assert await listed(task_id=task) == [deleted.id, created.id]
    assert await listed(event_types=["task-deleted"]) == [deleted.id]
    assert await listed(recorded_from=Timestamp(seconds=2)) == [other.id, deleted.id]
    assert await listed(recorded_before=Timestamp(seconds=2)) == [created.id]


async def test_nobody_sees_anothers_log(log: Log, recorded: Recorder) -> None:
    other = log.another_user()
    [written] = await recorded(user_id=other.user_id)
    assert not (await log.ListAuditRecords()).audit_records
    assert not (await log.ListAuditRecords(task_id=written.task_id)).audit_records
    with refused("AUDIT_RECORD_NOT_FOUND", audit_record_id=written.id) as error:
        await log.GetAuditRecord(audit_record_id=written.id)
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert (await log.VerifyAuditRecords()).records_checked == 0


async def test_a_missing_record_looks_like_anothers(log: Log) -> None:
    missing = new_id()
    with refused("AUDIT_RECORD_NOT_FOUND", audit_record_id=missing):
        await log.GetAuditRecord(audit_record_id=missing)


async def test_a_token_without_the_scope_reads_nothing(log: Log) -> None:
    with refused("SCOPE_MISSING", scope="audit:read"):
        await log.another_user(scope="tasks:read").ListAuditRecords()


@pytest.mark.parametrize(("fields", "named"), [
    ({"page_size": -1}, "page_size"),
    ({"task_id": "x"}, "task_id"),
    ({"subject_id": "x"}, "subject_id"),
    ({"event_types": ["a", "a"]}, "event_types"),
    ({"event_types": [""]}, "event_types[0]"),
    ({"page_token": "x" * 513}, "page_token"),
])  # fmt: skip
async def test_a_bad_filter_is_named(log: Log, fields: dict[str, object], named: str) -> None:
    with refused("INVALID_REQUEST") as error:
        await log.ListAuditRecords(**fields)
    assert named in error.fields


class TestVerify:
    """VerifyAuditRecords."""

    async def test_a_whole_chain_is_intact(self, log: Log, recorded: Recorder) -> None:
        written = await recorded(600)
        response = await log.VerifyAuditRecords()
        assert (response.intact, response.records_checked) == (True, 600)
        assert response.last_hash == written[-1].hash
        assert not response.HasField("next_position")
        assert not response.HasField("broken_position")

    async def test_an_empty_chain_is_intact(self, log: Log) -> None:
        response = await log.VerifyAuditRecords()
        assert (response.intact, response.records_checked, response.last_hash) == (True, 0, "")

    async def test_verification_can_begin_anywhere(self, log: Log, recorded: Recorder) -> None:
        await recorded(5)
        assert (await log.VerifyAuditRecords(from_position=4)).records_checked == 2
        assert (await log.VerifyAuditRecords(from_position=6)).intact

    async def test_nothing_is_said_of_positions_that_the_chain_does_not_have(
        self, log: Log, recorded: Recorder
    ) -> None:
        await recorded(5)
        with refused("AUDIT_CHAIN_SHORTER", from_position="7", last_position="5"):
            await log.VerifyAuditRecords(from_position=7)

    async def test_a_long_chain_is_verified_in_steps(
        self, log: Log, recorded: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.audit.handlers.MOST_RECORDS", 250)
        await recorded(600)
        checked, position, calls = 0, 0, 0
        while calls == 0 or position:
            response = await log.VerifyAuditRecords(from_position=position)
            assert response.intact
            checked, position, calls = checked + response.records_checked, response.next_position, calls + 1
        assert (checked, calls) == (600, 3)

    @pytest.mark.parametrize(("statement", "position"), [
        ("UPDATE audit_records SET payload = '{}' WHERE chain_position = 3", 3),
        ("UPDATE audit_records SET payload = jsonb_build_object('n', 10::numeric ^ 400) WHERE chain_position = 3", 3),
        ("UPDATE audit_records SET event_type = 'task-deleted' WHERE chain_position = 3", 3),
        ("UPDATE audit_records SET recorded_at = recorded_at - interval '1 microsecond' WHERE chain_position = 3", 3),
        ("UPDATE audit_records SET task_id = id WHERE chain_position = 3", 3),
        ("DELETE FROM audit_records WHERE chain_position = 3", 3),
        ("DELETE FROM audit_records WHERE chain_position = 1", 1),
        ("DELETE FROM audit_records WHERE chain_position >= 4", 4),
        ("UPDATE audit_records SET chain_position = chain_position + 10 WHERE chain_position = 2", 2),
        ("UPDATE chain_heads SET position = position - 1", 5),
        ("UPDATE chain_heads SET hash = sha256('x')", 5),
    ])  # fmt: skip
    async def test_tampering_is_found_where_it_happened(
        self, log: Log, recorded: Recorder, tamper: Tamper, statement: str, position: int
    ) -> None:
        await recorded(5)
        await tamper(statement)
        response = await log.VerifyAuditRecords()
        assert (response.intact, response.broken_position) == (False, position)
        assert not response.HasField("next_position")

    async def test_records_that_changed_positions_are_found(self, log: Log, recorded: Recorder, tamper: Tamper) -> None:
        await recorded(5)
        for moved in ("chain_position = 90 WHERE chain_position = 2", "chain_position = 2 WHERE chain_position = 3",
                      "chain_position = 3 WHERE chain_position = 90"):  # fmt: skip
            await tamper(f"UPDATE audit_records SET {moved}")
        assert (await log.VerifyAuditRecords()).broken_position == 2

    async def test_a_record_that_goes_missing_before_the_verification_is_found(
        self, log: Log, recorded: Recorder, tamper: Tamper
    ) -> None:
        await recorded(5)
        await tamper("DELETE FROM audit_records WHERE chain_position = 3")
        assert (await log.VerifyAuditRecords(from_position=4)).broken_position == 3
