"""What `make new-service` writes, and what it will not."""

import ast
from pathlib import Path

import pytest

from stack import registry
from tools.new_service import __main__ as new_service
from tools.paths import ROOT


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository without services, but with the list that a service is entered into."""
    (tmp_path / "services.toml").write_text((ROOT / "services.toml").read_text())
    return tmp_path


def test_no_placeholder_is_left_and_every_file_reads(repository: Path) -> None:
    for name in new_service.begin(repository, "samples", "sample"):
        text = (repository / name).read_text()
        assert "{{" not in text
        if name.suffix == ".py":
            ast.parse(text)


def test_the_service_is_registered_after_the_others(repository: Path) -> None:
    before = registry.parse((repository / "services.toml").read_text())
    new_service.begin(repository, "samples", "sample")
    after = registry.parse((repository / "services.toml").read_text())
    assert list(after.services) == [*before.services, "samples"]
    assert after.service("samples").schema == "samples"
    assert list(after.topics) == [*before.topics, "samples-events"]
    assert after.service("samples").publishes == ("samples-events",)
    assert after.service("samples").consumes == ("user-events",)


def test_nine_services_fit_into_the_ports_of_a_stack(repository: Path) -> None:
    there = registry.parse((repository / "services.toml").read_text()).services
    for name in ("alphas", "betas", "gammas", "deltas", "omegas")[: 9 - len(there)]:
        new_service.begin(repository, name, name.removesuffix("s"))
    assert len(registry.load(repository / "services.toml").services) >= 9


def test_the_entity_may_have_another_name_than_the_service(repository: Path) -> None:
    written = new_service.begin(repository, "library", "book")
    assert Path("protos/focusmesh/library/v1/book_service.proto") in written


@pytest.mark.parametrize("name", ["Samples", "no", "my_samples", "class", "policy", "type", "../samples"])
def test_a_name_that_cannot_be_is_refused(repository: Path, name: str) -> None:
    before = sorted(repository.rglob("*"))
    with pytest.raises(new_service.NewServiceError):
        new_service.begin(repository, name, "sample")
    assert sorted(repository.rglob("*")) == before


def test_a_service_that_is_there_is_never_overwritten(repository: Path) -> None:
    new_service.begin(repository, "samples", "sample")
    handlers = repository / "services" / "samples" / "handlers.py"
    handlers.write_text("# mine")
    with pytest.raises(new_service.NewServiceError):
        new_service.begin(repository, "samples", "sample")
    assert handlers.read_text() == "# mine"
