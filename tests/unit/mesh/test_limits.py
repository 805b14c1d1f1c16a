"""Limits that follow from the contract: what no valid request exceeds, and what a hostile one cannot cost."""

import gc
import time
from collections.abc import Iterator
from typing import Any

import protovalidate
import pytest
from buf.validate import validate_pb2
from google.protobuf import field_mask_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from harness.hostile_requests import hostile_requests, repeated_empty, wrong_message
from harness.rpcs import METHODS, descriptor
from harness.valid_requests import put, rules_of, valid_message
from mesh.rpc import validation
from mesh.rpc.limits import LARGEST_REQUEST, RequestLimits, UnboundedRequestError
from mesh.runtime.errors import InvalidRequest

REQUESTS: list[Descriptor] = [descriptor(method).input_type for method in METHODS]
every_request = pytest.mark.parametrize("request_type", REQUESTS, ids=lambda request: request.name)
MOST_SECONDS = 0.05
"""Of an event loop in one piece (docs/neighbours.md)."""


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Keeps the collector of garbage, which would look through all of pytest, out of a measurement."""
    gc.disable()
    yield
    gc.enable()


def cost_of_refusing(request_type: Descriptor, content: bytes) -> tuple[float, InvalidRequest | None]:
    """CPU seconds of one reading, and what was raised."""
    read, error = validation.reader(request_type), None
    began = time.thread_time()
    try:
        read(content)
    except InvalidRequest as raised:
        error = raised
    return time.thread_time() - began, error


@every_request
def test_no_hostile_request_takes_the_event_loop_for_long(request_type: Descriptor, no_collection: None) -> None:
    for size in {RequestLimits(request_type).most_bytes, LARGEST_REQUEST}:
        for kind, content in hostile_requests(request_type, size):
            assert len(content) <= size
            seconds, error = cost_of_refusing(request_type, content)
            assert seconds <= MOST_SECONDS, f"{kind} of {len(content)} bytes"
            assert error is None or len(error.fields) <= 20


@every_request
def test_a_request_that_breaks_every_rule_is_refused_by_twenty_of_them(
    request_type: Descriptor, no_collection: None
) -> None:
    if not request_type.fields:
        return
    seconds, error = cost_of_refusing(request_type, wrong_message(request_type).SerializeToString())
    assert seconds <= MOST_SECONDS
    assert error is not None
    assert 1 <= len(error.fields) <= 20


@every_request
def test_the_largest_request_that_keeps_the_rules_is_read(request_type: Descriptor) -> None:
    request = valid_message(GetMessageClass(request_type))
    for field in request_type.fields:
        longest = rules_of(field).string.max_len
        if longest and not rules_of(field).string.email:
            put(request, field, "😀" * longest)
    mask = request_type.fields_by_name.get("update_mask")
    if mask is not None:
        request.update_mask.paths[:] = getattr(rules_of(mask).field_mask, "in")
    content = request.SerializeToString()
    RequestLimits(request_type).check_size(content)
    RequestLimits(request_type).check_counts(content)


@pytest.mark.parametrize("field", [each for request in REQUESTS for each in request.fields if each.is_repeated])
@pytest.mark.parametrize("count", [1_000, 10_000, 500_000])
def test_a_list_that_is_too_long_is_refused_by_its_name(field: FieldDescriptor, count: int) -> None:
    _, error = cost_of_refusing(field.containing_type, repeated_empty(field, count))
    assert error is not None
    if 2 * count <= RequestLimits(field.containing_type).most_bytes:
        most = rules_of(field).repeated.max_items
        assert [violation.field for violation in error.fields] == [field.name]
        assert str(most) in error.fields[0].description
    else:
        assert "bytes" in str(error)


def test_a_list_is_as_long_as_validation_says() -> None:
    for field in (each for request in REQUESTS for each in request.fields if each.is_repeated):
        limits, most = RequestLimits(field.containing_type), rules_of(field).repeated.max_items
        limits.check_counts(repeated_empty(field, most))
        with pytest.raises(InvalidRequest, match=field.name) as counted:
            limits.check_counts(repeated_empty(field, most + 1))
        parsed = GetMessageClass(field.containing_type).FromString(repeated_empty(field, most + 1))
        found = [violation.proto for violation in protovalidate.collect_violations(parsed)]
        assert (counted.value.fields[0].description, counted.value.fields[0].rule) in [
            (violation.message, violation.rule_id) for violation in found
        ]


def new_type(*fields: FieldDescriptorProto) -> Descriptor:
    """A type `new.New` of a contract that nobody has written yet; `new.Inner` has a list of three texts."""
    file = FileDescriptorProto(name="new.proto", package="new", syntax="proto3")
    file.dependency.append("google/protobuf/field_mask.proto")
    inner = file.message_type.add(name="Inner", field=[texts("names", max_items=3)])
    inner.field[0].number = 1
    message = file.message_type.add(name="New", field=fields)
    for number, field in enumerate(message.field, start=1):
        field.number = number
    pool = DescriptorPool()
    pool.AddSerializedFile(field_mask_pb2.DESCRIPTOR.serialized_pb)
    return pool.AddSerializedFile(file.SerializeToString()).message_types_by_name["New"]


def texts(name: str, **rules: Any) -> FieldDescriptorProto:
    field = FieldDescriptorProto(name=name, type=FieldDescriptorProto.TYPE_STRING)
    field.label = FieldDescriptorProto.LABEL_REPEATED
    field.options.Extensions[validate_pb2.field].repeated.MergeFrom(validate_pb2.RepeatedRules(**rules))
    return field


def messages(name: str, type_name: str, max_items: int = 0) -> FieldDescriptorProto:
    field = FieldDescriptorProto(name=name, type=FieldDescriptorProto.TYPE_MESSAGE, type_name=type_name)
    if max_items:
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.options.Extensions[validate_pb2.field].repeated.max_items = max_items
    return field


@pytest.mark.parametrize(
    ("field", "complaint"),
    [
        (texts("names"), "names has no max_items"),
        (messages("again", ".new.New"), "contains itself"),
        (messages("mask", ".google.protobuf.FieldMask"), "which paths"),
    ],
)
def test_a_type_without_a_bound_stops_the_start(field: FieldDescriptorProto, complaint: str) -> None:
    with pytest.raises(UnboundedRequestError, match=complaint):
        validation.reader(new_type(field))


@pytest.mark.parametrize(
    ("counts", "field"),
    [([1, 3, 4], "inners[2].names"), ([0, 0, 0, 0], "inners"), ([3, 3, 3], None)],
)
def test_lists_in_lists_are_counted_each_by_its_path(counts: list[int], field: str | None) -> None:
    new = new_type(messages("inners", ".new.Inner", max_items=3))
    content = GetMessageClass(new)(inners=[{"names": ["x"] * count} for count in counts]).SerializeToString()
    if field is None:
        RequestLimits(new).check_counts(content)
        return
    with pytest.raises(InvalidRequest) as error:
        RequestLimits(new).check_counts(content)
    assert [violation.field for violation in error.value.fields] == [field]


def test_a_single_message_is_counted_when_it_comes_again() -> None:
    new = new_type(messages("inner", ".new.Inner"))
    once = GetMessageClass(new)(inner={"names": ["x"] * 3}).SerializeToString()
    RequestLimits(new).check_counts(once)
    with pytest.raises(InvalidRequest, match="inner"):
        RequestLimits(new).check_counts(once * 2)


def test_a_newer_clients_fields_are_let_through() -> None:
    new = new_type(texts("names", max_items=3))
    newer = b"".join(bytes([number << 3, 1]) for number in range(2, 16)) + b"\x7a\xff\x0f" + b"x" * 2047
    RequestLimits(new).check_size(newer)
    RequestLimits(new).check_counts(newer)


def test_texts_without_a_bound_are_limited_by_what_grpc_takes() -> None:
    assert RequestLimits(new_type(texts("names", max_items=3))).most_bytes == LARGEST_REQUEST


def test_an_rpc_that_takes_files_may_have_larger_requests() -> None:
    limits = RequestLimits(new_type(texts("names", max_items=3)), largest=2 * LARGEST_REQUEST)
    assert limits.most_bytes == 2 * LARGEST_REQUEST
    limits.check_size(b"x" * 2 * LARGEST_REQUEST)
