"""A member of a consumer group in a process of its own, to be killed."""

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
    inbox = Inbox(database, [TopicSubscription(topic, {"thing-changed": target.on_thing_changed})])
    consumer = Consumer(
        kafka,
        group=group,
        topics=[topic],
        handler=inbox,
        parking=inbox,
        # With a name a member that was killed is known again; without one its partitions wait until its session ends.
        options="session.timeout.ms=45000" if instance else "",
        instance=instance,
    )
    parts = [database, consumer]
    for part in parts:
        part.start()
    await stop.wait()
    for part in reversed(parts):
        await part.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
