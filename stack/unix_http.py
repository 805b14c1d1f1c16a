"""HTTP over a unix socket, as supervisord and the gateway's administration speak it."""

import http.client
import socket
from pathlib import Path

_SECONDS = 60


class UnixConnection(http.client.HTTPConnection):
    """One connection to a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Opens it; raises OSError when nobody listens."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get(path: Path, target: str) -> bytes:
    """The body of GET `target`; raises OSError or HTTPException."""
    connection = UnixConnection(path)
    try:
        connection.request("GET", target)
        return connection.getresponse().read()
    finally:
        connection.close()
