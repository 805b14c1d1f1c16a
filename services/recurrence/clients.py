"""The services that recurrence calls."""

from focusmesh.auth.v1.preference_service_pb2 import GetUserPreferencesRequest
from focusmesh.auth.v1.preference_service_pb2_grpc import PreferenceServiceStub
from focusmesh.todo.v1.task_instance_service_pb2_grpc import TaskInstanceServiceStub

from mesh.platform import Platform
from mesh.rpc.status import CalleeError


class Users:
    """Where users are, from auth."""

    def __init__(self, platform: Platform) -> None:
        self._stub = PreferenceServiceStub(platform.client("auth").channel)

    async def time_zone(self, user_id: str) -> str | None:
        """The zone of a user now; None when the account is closed. Raises DependencyUnavailable."""
        try:
            response = await self._stub.GetUserPreferences(GetUserPreferencesRequest(user_id=user_id))
        except CalleeError as error:
            if error.reason != "USER_NOT_FOUND":
                raise
            return None
        return response.preferences.time_zone


def instances(platform: Platform) -> TaskInstanceServiceStub:
    """Instances of recurring tasks, from todo."""
    return TaskInstanceServiceStub(platform.client("todo").channel)
