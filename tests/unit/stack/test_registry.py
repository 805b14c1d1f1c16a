"""services.toml."""

from pathlib import Path

import pytest

from stack import registry
from stack.errors import StackError

TWO = """
[one]
port = 100
schema = "one"
publishes = ["items"]
{one}
[two]
port = {port}
consumes = ["items"]
[topics]
names = ["items"]
partitions = {{ machine = 3, cluster = 12 }}
"""


def parse(*, port: int = 110, one: str = "") -> registry.Registry:
    return registry.parse(TWO.format(port=port, one=one))


def test_the_repositorys_registry_holds_together() -> None:
    services = registry.load().services
    assert {"auth", "todo", "audit", "realtime"} <= set(services)
    assert services["realtime"].schema is None


def test_a_consumer_has_a_dead_letter_topic_of_its_own() -> None:
    assert parse().all_topics() == {"items": 3, "items.two.dlq": registry.DEAD_LETTER_PARTITIONS}


def test_each_target_has_its_number_of_partitions() -> None:
    text = TWO.format(port=110, one="")
    assert registry.parse(text).topics == {"items": 3}
    assert registry.parse(text, "cluster").topics == {"items": 12}
    with pytest.raises(ValueError, match="no number for 'moon'; it has: machine, cluster"):
        registry.parse(text, "moon")


def test_only_services_with_a_schema_own_tables() -> None:
    assert [service.name for service in parse().with_schema()] == ["one"]


@pytest.mark.parametrize("port", [100, 103])
def test_ports_that_replicas_would_share_are_refused(port: int) -> None:
    with pytest.raises(ValueError, match="two and one both claim port offset"):
        parse(port=port)


def test_ports_outside_those_of_a_stack_are_refused() -> None:
    with pytest.raises(ValueError, match="two claims port offset 247; a stack has 250"):
        parse(port=247)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('consumes = ["nothing"]', r"one uses topics that \[topics\] does not have: nothing"),
        ('calls = ["three"]', "one calls services that there are not: three"),
        ('calls = ["one"]', "one calls itself"),
        ("replicas = 5", "replicas is 5; 1 to 4"),
        ("replicas = 0", "replicas is 0; 1 to 4"),
        ("colour = 1", r"\[one\] does not read as a service: .*colour"),
    ],
)
def test_what_contradicts_itself_is_named(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(one=line)


def test_a_file_that_does_not_parse_is_an_error_that_says_what_to_correct(tmp_path: Path) -> None:
    file = tmp_path / "services.toml"
    file.write_text("[one")
    with pytest.raises(StackError, match=r"services\.toml: "):
        registry.load(file)


def test_an_unknown_service_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="there is no service 'three'; there are: one, two"):
        parse().service("three")
