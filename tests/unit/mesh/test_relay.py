"""The relay between two passes; what it does in one is shown on real parts in tests/events."""

import pytest

from mesh.producer import Producer
from mesh.relay import Relay


@pytest.mark.parametrize(
    ("published", "seconds"), [(1, 0.015), (29, 0.015), (30, 0.04), (499, 0.04), (500, 0.0), (4000, 0.0)]
)
def test_it_rests_longer_where_many_events_gather_and_not_at_all_before_a_backlog(
    published: int, seconds: float
) -> None:
    relay = Relay("postgresql://nowhere", Producer("nowhere:1", name="source"), service="source", batch=500)
    assert relay.rest(published) == seconds
