"""Settings of the realtime service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Read from the environment, like every ServiceSettings."""

    websocket_listen: str
    """Address of the WebSocket server, host:port."""
    allowed_origins: str = ""
    """Origins that browsers may connect from, comma-separated, such as `https://app.example.org`."""
    heartbeat_seconds: int = 15
    """Longest time without a frame; shorter than the idle timeout of any proxy."""
    retention_seconds: int = 300
    """How long events are kept for clients that reconnect."""
    queue_frames: int = 256
    """Frames buffered per connection; a connection that falls further behind reads them from Redis again."""
    patience_seconds: float = 5.0
    """A connection that accepts no frame for this long while others wait is closed."""
    streams_per_user: int = 10
    """Most open streams of one user on this replica."""
    messages_burst: int = 20
    """Frames of any kind, pings among them, that a client may send on a WebSocket at once."""
    messages_per_second: float = 2.0
    """And lastingly. Each cursor opens a stream again."""
    max_streams: int = 5000
    """Most open streams of all users on this replica."""
    max_concurrent_streams: int = 5000
