"""Feeds to their messages."""

from focusmesh.calendar.v1 import calendar_file_service_pb2 as pb

from mesh.runtime.clock import set_timestamp
from services.calendar.model import Feed


def feed_to_pb(feed: Feed) -> pb.Feed:
    """The message of a feed."""
    message = pb.Feed(id=feed.id, name=feed.name, include_tasks=feed.include_tasks)
    set_timestamp(message.create_time, feed.created_at)
    set_timestamp(message.last_read_time, feed.last_read_at)
    return message
