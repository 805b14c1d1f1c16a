"""The requests that the proof of neighbours sends are allowed, and as large as the rules allow."""

import pytest

from contract.methods import Method
from harness.awkward_requests import FILLERS, awkward_requests, largest_request
from harness.rpcs import BY_NAME, METHODS, descriptor
from mesh.rpc import validation


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


def test_given_values_stay_as_they_are() -> None:
    task_id = "0190a000-0000-7000-8000-000000000001"
    for _, request in awkward_requests(BY_NAME["UpdateTask"], {"task_id": task_id}):
        assert request.task_id == task_id  # type: ignore[attr-defined]
