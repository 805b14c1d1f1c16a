"""The RPC by which the proof of logout watches a service."""

from harness.rpcs import METHODS
from prove.logout import reads
from stack import registry


def test_every_service_that_serves_single_calls_is_watched_by_a_read() -> None:
    services = registry.load().services.values()
    assert {service.name for service in services if service.websocket_port is None} <= reads(METHODS).keys()


def test_a_read_needs_no_id() -> None:
    assert reads(METHODS)["todo"] == "/focusmesh.todo.v1.TaskService/ListTasks"
