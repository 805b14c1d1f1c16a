"""Update masks and etags."""

import pytest
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.rpc import etag
from mesh.rpc.fieldmask import update_paths
from mesh.runtime.errors import FieldNotInMask, InvalidRequest, VersionConflict

FIELDS = ("title", "description")


def test_named_fields_are_those_of_the_mask_set_or_not() -> None:
    request = pb.UpdateTaskRequest(update_mask=FieldMask(paths=["title", "description"]), title="x")
    assert update_paths(request, FIELDS) == {"title", "description"}


def test_a_field_that_is_set_and_not_named_is_refused_by_name() -> None:
    request = pb.UpdateTaskRequest(update_mask=FieldMask(paths=["title"]), title="x", description="")
    with pytest.raises(FieldNotInMask) as refused:
        update_paths(request, FIELDS)
    assert refused.value.metadata == {"field": "description"}
    assert [violation.field for violation in refused.value.fields] == ["description"]


def test_an_etag_holds_for_its_version_only() -> None:
    etag.check_etag(None, 3)
    etag.check_etag(etag.etag(3), 3)
    with pytest.raises(VersionConflict):
        etag.check_etag(etag.etag(2), 3)


def test_a_path_below_a_field_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        update_paths(pb.UpdateTaskRequest(update_mask=FieldMask(paths=["title.deeper"]), title="x"), FIELDS)
    assert [violation.field for violation in refused.value.fields] == ["update_mask"]
