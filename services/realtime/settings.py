"""Settings of the realtime service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """What the realtime service is told."""

    websocket_listen: str
    """Address of the WebSocket server, host:port."""
    allowed_origins: str = ""
    """Origins that browsers may connect from, comma-separated, such as `https://app.example.org`."""
    heartbeat_seconds: int = 15
    """A frame is sent at least this often: shorter than any proxy's idle timeout."""
    retention_seconds: int = 300
    """How long events are kept for clients that come back."""
    queue_frames: int = 256
    """Frames that may wait for one connection; one that falls further behind reads them from Redis again."""
    patience_seconds: float = 5.0
    """A connection that is behind and takes no frame for this long is cut."""
    streams_per_user: int = 10
    """Open streams of one user on this replica."""
    max_streams: int = 5000
    """Open streams of all users on this replica."""
    max_concurrent_calls: int = 5000
    """Each gRPC stream is one."""
