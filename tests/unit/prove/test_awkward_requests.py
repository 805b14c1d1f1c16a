"""The requests that the proof of neighbours sends are allowed, and as large as the rules allow."""

from typing import Any

import pytest
from focusmesh.calendar.v1.event_service_pb2 import EVENT_SCOPE_FOLLOWING

from contract.methods import Method
from harness.awkward_requests import FILLERS, awkward_requests, largest_request
from harness.rpcs import BY_NAME, METHODS, descriptor
from mesh.rpc import validation
from mesh.rpc.limits import RequestLimits


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_rpc_has_awkward_requests_that_keep_its_rules(method: Method) -> None:
    read = validation.reader(descriptor(method).input_type, largest_request(method))
    requests = dict(awkward_requests(method, {}))
    assert len(requests) >= len(FILLERS)
    for request in requests.values():
        read(request.SerializeToString())


@pytest.mark.parametrize(
    ("name", "least_bytes"),
    [
        ("BatchCreateTasks", 900_000),
        ("CreateTask", 42_000),
        ("CreateFocusSession", 250_000),
        ("ListAuditRecords", 2_400),
    ],
)
def test_the_largest_of_them_is_nearly_as_large_as_may_be(name: str, least_bytes: int) -> None:
    assert max(request.ByteSize() for _, request in awkward_requests(BY_NAME[name], {})) >= least_bytes


WELL_BELOW = 0.4
"""Of what the limits of a request allow, without the 4 KiB for fields of a newer contract."""
NUMBERS = "numbers, which the limits count with ten bytes each and which have fewer"
SMALLER: dict[str, str] = {
    "GetHeatmap": NUMBERS,
    "MarkAllRead": "nothing but a request_id",
    "PlanTask": NUMBERS,
    "PreviewEvent": NUMBERS,
    "PreviewRecurrence": NUMBERS,
    "UpdateGoals": NUMBERS,
    "VerifyAuditRecords": NUMBERS,
    "GetOccurrence": "an id of ASCII, which the limits count with four bytes a character",
    "RequestEmailVerification": "an address of ASCII, which the limits count with four bytes a character",
    "RequestPasswordReset": "an address of ASCII, which the limits count with four bytes a character",
    "VerifyPhone": "a code of ASCII, which the limits count with four bytes a character",
    "Unsubscribe": "a form, of which nothing is read",
}
"""RPCs whose largest request is well below, with the reason."""


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_no_rpc_falls_back_to_small_requests_unless_a_reason_is_named(method: Method) -> None:
    most = largest_request(method)
    limit = RequestLimits(descriptor(method).input_type, largest=most).most_bytes
    content = limit if limit == most else limit - 4096
    largest = max(request.ByteSize() for _, request in awkward_requests(method, {}))
    assert (largest < WELL_BELOW * content) == (method.name in SMALLER), f"{largest} of {content} bytes"


@pytest.mark.parametrize(
    ("name", "given", "least_bytes"),
    [
        ("ImportTasks", {}, 1_000_000),
        ("UpdateEvent", {"scope": EVENT_SCOPE_FOLLOWING, "slot": "2027-06-15T09:00:00"}, 43_000),
        ("ApplyInstance", {}, 42_000),
        ("PreviewRecurrence", {"schedule_id": "0190a000-0000-7000-8000-000000000001"}, 1_200),
        ("PreviewEvent", {}, 1_200),
        ("UpdateGoals", {}, 1_600),
        ("PlanTask", {}, 460),
        ("RequestEmailVerification", {}, 240),
    ],
)
def test_what_rules_forbid_together_is_sent_as_large_as_the_rest_allows(
    name: str, given: dict[str, Any], least_bytes: int
) -> None:
    assert max(request.ByteSize() for _, request in awkward_requests(BY_NAME[name], given)) >= least_bytes


def test_imported_tasks_have_different_uids() -> None:
    for _, request in awkward_requests(BY_NAME["ImportTasks"], {}):
        uids = [task.uid for task in request.tasks]  # type: ignore[attr-defined]
        assert len(uids) == len(set(uids)) > 0


def test_each_of_several_fields_that_exclude_one_another_is_filled_with_everything() -> None:
    requests = dict(awkward_requests(BY_NAME["ApplyInstance"], {}))
    assert {f"put full of {filler}" for filler in FILLERS} < requests.keys()


def test_given_values_stay_as_they_are() -> None:
    task_id = "0190a000-0000-7000-8000-000000000001"
    for _, request in awkward_requests(BY_NAME["UpdateTask"], {"task_id": task_id}):
        assert request.task_id == task_id  # type: ignore[attr-defined]
