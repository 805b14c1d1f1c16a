"""The services that pomodoro calls."""

from focusmesh.auth.v1.preference_service_pb2_grpc import PreferenceServiceStub
from focusmesh.todo.v1.task_ownership_service_pb2_grpc import TaskOwnershipServiceStub

from mesh.platform import Platform


def preferences(platform: Platform) -> PreferenceServiceStub:
    """Preferences of users, from auth."""
    return PreferenceServiceStub(platform.client("auth").channel)


def todo_tasks(platform: Platform) -> TaskOwnershipServiceStub:
    """Whose tasks are whose, from todo."""
    return TaskOwnershipServiceStub(platform.client("todo").channel)
