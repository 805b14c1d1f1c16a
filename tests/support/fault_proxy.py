"""A way to a server that can be shut: it then takes what is said, carries nothing on and answers nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Carries connections to a server, while it is open."""

    def __init__(self, host: str, port: int) -> None:
        self.open = True
        self.carrying: list[asyncio.Task[None]] = []
        self._server = (host, port)

    def carry(self, caller: asyncio.StreamReader, responses: asyncio.StreamWriter) -> None:
        """Begins to carry a connection."""
        self.carrying.append(asyncio.create_task(self._carry(caller, responses)))

    async def _carry(self, caller: asyncio.StreamReader, responses: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_connection(*self._server)
        await asyncio.gather(self._pass(caller, writer), self._pass(reader, responses), return_exceptions=True)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while content := await source.read(65536):
                if self.open:
                    sink.write(content)
                    await sink.drain()
        finally:
            sink.close()


@asynccontextmanager
async def gate_to(host: str, port: int) -> AsyncIterator[tuple[Gate, int]]:
    """A gate, and the port it is at."""
    gate = Gate(host, port)
    server = await asyncio.start_server(gate.carry, "127.0.0.1", 0)
    try:
        yield gate, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in gate.carrying:
            task.cancel()
        await asyncio.gather(*gate.carrying, return_exceptions=True)
