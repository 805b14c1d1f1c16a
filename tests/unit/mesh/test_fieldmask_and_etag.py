"""Update masks and etags."""

from typing import NamedTuple

import pytest
from focusmesh.auth.v1 import user_service_pb2 as user_pb
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.rpc import etag
from mesh.rpc.fieldmask import update_paths
from mesh.runtime.errors import FieldNotInMask, InvalidRequest, VersionConflict


class Row(NamedTuple):
    version: int
    updated_at: int
    title: str


def test_named_fields_are_those_of_the_mask_set_or_not() -> None:
    request = pb.UpdateTaskRequest(update_mask=FieldMask(paths=["title", "description"]), title="x")
    assert update_paths(request) == {"title", "description"}


def test_a_field_that_is_set_and_not_named_is_refused_by_name() -> None:
    request = pb.UpdateTaskRequest(update_mask=FieldMask(paths=["title"]), title="x", description="")
    with pytest.raises(FieldNotInMask) as refused:
        update_paths(request)
    assert refused.value.metadata == {"field": "description"}
    assert [(violation.field, violation.rule) for violation in refused.value.fields] == [
        ("description", "update_mask.named")
    ]


def test_a_list_that_has_elements_is_set() -> None:
    mask = FieldMask(paths=["title"])
    assert update_paths(pb.UpdateTaskRequest(update_mask=mask, title="x", reminder_offsets=[])) == {"title"}
    with pytest.raises(FieldNotInMask) as refused:
        update_paths(pb.UpdateTaskRequest(update_mask=mask, title="x", reminder_offsets=["-P1D"]))
    assert refused.value.metadata == {"field": "reminder_offsets"}


@pytest.mark.parametrize("named", ["recurrence_schedule", "title"])
def test_an_enum_that_is_zero_is_not_set(named: str) -> None:
    request = pb.UpdateTaskRequest(update_mask=FieldMask(paths=[named]), recurrence_schedule=0)  # type: ignore[arg-type]
    assert update_paths(request) == {named}
    assert not request.HasField("recurrence_schedule")


def test_the_fields_that_a_mask_may_name_are_those_of_the_contract() -> None:
    request = user_pb.UpdateMeRequest(update_mask=FieldMask(paths=["name"]), day_start_minutes=0)
    with pytest.raises(FieldNotInMask) as refused:
        update_paths(request)
    assert refused.value.metadata == {"field": "day_start_minutes"}


def test_the_etag_of_a_request_is_none_when_it_is_absent() -> None:
    assert etag.etag_of(pb.UpdateTaskRequest()) is None
    assert etag.etag_of(pb.UpdateTaskRequest(etag="v7")) == "v7"


def test_the_next_version_never_moves_back_in_time() -> None:
    row = Row(version=3, updated_at=1_000, title="x")
    assert etag.next_version(row, 2_000, title="y") == Row(4, 2_000, "y")
    assert etag.next_version(row, 999) == Row(4, 1_000, "x")


def test_an_etag_holds_for_its_version_only() -> None:
    etag.check_etag(None, 3)
    etag.check_etag(etag.etag(3), 3)
    with pytest.raises(VersionConflict):
        etag.check_etag(etag.etag(2), 3)


def test_a_path_below_a_field_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        update_paths(pb.UpdateTaskRequest(update_mask=FieldMask(paths=["title.deeper"]), title="x"))
    assert [violation.field for violation in refused.value.fields] == ["update_mask"]
