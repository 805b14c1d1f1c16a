"""What `make up` is asked for."""

import pytest

from stack.trouble import Trouble
from stack.up import wanted_replicas


@pytest.mark.parametrize(
    ("text", "wanted"), [("", {}), ("todo=2", {"todo": 2}), ("todo=2, audit=4", {"todo": 2, "audit": 4})]
)
def test_replicas_are_read_by_service(text: str, wanted: dict[str, int]) -> None:
    assert wanted_replicas(text) == wanted


@pytest.mark.parametrize("text", ["todo", "todo=", "todo=0", "todo=5", "todo=-1", "todo=x", "nope=2"])
def test_replicas_that_do_not_read_are_answered_with_how_to_write_them(text: str) -> None:
    with pytest.raises(Trouble, match="make up REPLICAS=todo=2"):
        wanted_replicas(text)
