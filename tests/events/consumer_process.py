"""A consumer in a process of its own, to be killed."""

import asyncio
import signal
import sys

from mesh.database.pool import Database
from mesh.events.consumer import Consumer
from mesh.events.inbox import Inbox, TopicSubscription
from tests.events.fakes import REVISION, Applied


async def main(kafka: str, group: str, topic: str, database_url: str, instance: str) -> None:
    """Consumes until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = Database(database_url, revision=REVISION)
    target = Applied(database)
    inbox = Inbox(database, [TopicSubscription(topic, {"item-changed": target.on_item_changed})])
    consumer = Consumer(
        kafka,
        group=group,
        topics=[topic],
        handler=inbox,
        parking=inbox,
        # A killed consumer with an instance name rejoins as itself; otherwise its partitions wait for a time-out.
        options="session.timeout.ms=45000" if instance else "",
        instance=instance,
    )
    components = [database, consumer]
    for component in components:
        component.start()
    await stop.wait()
    for component in reversed(components):
        await component.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
