"""The services that pomodoro calls."""

from focusmesh.auth.v1.guest_service_pb2_grpc import GuestServiceStub
from focusmesh.auth.v1.preference_service_pb2_grpc import PreferenceServiceStub
from focusmesh.todo.v1.task_ownership_service_pb2_grpc import TaskOwnershipServiceStub

from mesh.platform import Platform


class Auth:
    """What auth knows of users and guests."""

    def __init__(self, platform: Platform) -> None:
        channel = platform.client("auth").channel
        self.preferences, self.guests = PreferenceServiceStub(channel), GuestServiceStub(channel)


def todo_tasks(platform: Platform) -> TaskOwnershipServiceStub:
    """Whose tasks are whose, from todo."""
    return TaskOwnershipServiceStub(platform.client("todo").channel)
