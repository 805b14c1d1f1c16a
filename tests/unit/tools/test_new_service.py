"""What `make new-service` writes, and what it will not."""

import ast
from pathlib import Path

import pytest

from stack import registry
from tools.new_service import __main__ as new_service
from tools.paths import ROOT


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A repository without services, but with the list that a service is entered into."""
    (tmp_path / "services.toml").write_text((ROOT / "services.toml").read_text())
    return tmp_path


def test_no_placeholder_is_left_and_every_file_reads(house: Path) -> None:
    for name in new_service.begin(house, "samples", "sample"):
        text = (house / name).read_text()
        assert "{{" not in text
        if name.suffix == ".py":
            ast.parse(text)


def test_the_service_is_registered_after_the_others(house: Path) -> None:
    before = registry.parse((house / "services.toml").read_text())
    new_service.begin(house, "samples", "sample")
    after = registry.parse((house / "services.toml").read_text())
    assert list(after.services) == [*before.services, "samples"]
    assert after.service("samples").schema == "samples"
    assert list(after.topics) == [*before.topics, "samples-events"]
    assert after.service("samples").publishes == ("samples-events",)
    assert after.service("samples").consumes == ("user-events",)


def test_nine_services_fit_into_the_ports_of_a_stack(house: Path) -> None:
    there = registry.parse((house / "services.toml").read_text()).services
    for name in ("alphas", "betas", "gammas", "deltas", "omegas")[: 9 - len(there)]:
        new_service.begin(house, name, name.removesuffix("s"))
    assert len(registry.load(house / "services.toml").services) >= 9


def test_the_thing_may_have_another_name_than_the_service(house: Path) -> None:
    written = new_service.begin(house, "library", "book")
    assert Path("protos/focusmesh/library/v1/book_service.proto") in written


@pytest.mark.parametrize("name", ["Samples", "no", "my_samples", "class", "policy", "type", "../samples"])
def test_a_name_that_cannot_be_is_refused(house: Path, name: str) -> None:
    before = sorted(house.rglob("*"))
    with pytest.raises(new_service.Refused):
        new_service.begin(house, name, "sample")
    assert sorted(house.rglob("*")) == before


def test_a_service_that_is_there_is_never_overwritten(house: Path) -> None:
    new_service.begin(house, "samples", "sample")
    handlers = house / "services" / "samples" / "handlers.py"
    handlers.write_text("# mine")
    with pytest.raises(new_service.Refused):
        new_service.begin(house, "samples", "sample")
    assert handlers.read_text() == "# mine"
