"""Settings from the environment."""

from dataclasses import dataclass

import pytest

from mesh.runtime.settings import load


@dataclass(frozen=True, kw_only=True)
class Example:
    """A service's settings."""

    listen: str
    replica: int = 0
    reflection: bool = True
    drain_seconds: float = 3.0


def test_fields_are_read_from_prefixed_variables_and_typed() -> None:
    environment = {
        "FOCUSMESH_LISTEN": "127.0.0.1:18110",
        "FOCUSMESH_REPLICA": "2",
        "FOCUSMESH_REFLECTION": "false",
        "FOCUSMESH_DRAIN_SECONDS": "0.5",
        "LISTEN": "elsewhere",
    }
    assert load(Example, environment) == Example(
        listen="127.0.0.1:18110", replica=2, reflection=False, drain_seconds=0.5
    )


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SystemExit) as stopped:
        load(Example, {"FOCUSMESH_REPLICA": "two", "FOCUSMESH_REFLECTION": "maybe"})
    for name in ("FOCUSMESH_LISTEN is not set", "FOCUSMESH_REPLICA='two'", "FOCUSMESH_REFLECTION='maybe'"):
        assert name in str(stopped.value)
