"""Focus sessions of occurrences, from pomodoro."""

from focusmesh.pomodoro.v1.planned_session_service_pb2 import StartPlannedSessionRequest, StartPlannedSessionResponse
from focusmesh.pomodoro.v1.planned_session_service_pb2_grpc import PlannedSessionServiceStub

from mesh.platform import Platform
from mesh.rpc.status import CalleeError
from mesh.runtime.errors import DependencyUnavailable
from services.calendar.errors import AnotherSessionRunning, PomodoroUnavailable

_AGAIN_SECONDS = 1.0
_OF_RUNNING = ("focus_session_id", "state", "etag", "interval_end_time")


class Sessions:
    """The sessions of pomodoro."""

    def __init__(self, platform: Platform) -> None:
        self._stub = PlannedSessionServiceStub(platform.client("pomodoro").channel)

    async def start(self, request: StartPlannedSessionRequest) -> StartPlannedSessionResponse:
        """The session of an occurrence, new or not; raises PomodoroUnavailable and AnotherSessionRunning."""
        try:
            return await self._stub.StartPlannedSession(request)
        except DependencyUnavailable:
            raise PomodoroUnavailable(retry_after=_AGAIN_SECONDS) from None
        except CalleeError as error:
            if error.reason != "ANOTHER_SESSION_RUNNING":
                raise
            known = {name: error.metadata.get(name, "") for name in _OF_RUNNING}
            raise AnotherSessionRunning(retry_after=None, fields=(), **known) from None
