"""The whole configuration: nothing left open, nothing that is named missing."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.rpc import code_pb2

from contract import descriptors
from envoy import generate, validate
from envoy.clusters import clusters
from envoy.responses import RESPONSES
from envoy.routes import UNKNOWN_CLUSTER
from envoy.settings import Allowances, Bucket, GatewaySettings, SettingsError, UpstreamTls
from mesh.runtime.settings import ServiceSettings
from stack.layout import Ports, State

TARGETS = {
    "machine": generate.machine(Ports(20000), State(Path("/tmp/state"))),  # noqa: S108
    "cluster": generate.cluster(),
}


@pytest.fixture(params=TARGETS)
def configuration(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The configuration for each target."""
    return generate.bootstrap(*TARGETS[request.param])


def values_of(node: Any, key: str) -> Iterator[Any]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from values_of(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from values_of(item, key)


@pytest.mark.parametrize("target", TARGETS)
def test_envoy_takes_the_configuration(target: str) -> None:
    validate.validate(*TARGETS[target])


def test_envoy_takes_every_option(tmp_path: Path) -> None:
    endpoints, settings = generate.machine(Ports(20000), State(tmp_path), otlp=("127.0.0.1", 4317), trace_percent=12.5)

    validate.validate(endpoints, settings)


def test_a_configuration_that_envoy_refuses_is_reported_in_a_few_words(tmp_path: Path) -> None:
    endpoints, settings = generate.machine(Ports(20000), State(tmp_path), key_cache_seconds=-1)

    with pytest.raises(validate.ConfigurationError) as refused:
        validate.validate(endpoints, settings)
    assert len(str(refused.value)) < 1500


def test_no_hole_of_the_template_stays_open(configuration: dict[str, Any]) -> None:
    assert "${" not in json.dumps(configuration)


def test_every_cluster_that_is_named_exists_but_the_one_that_must_not(configuration: dict[str, Any]) -> None:
    defined = {cluster["name"] for cluster in configuration["static_resources"]["clusters"]}
    named = set(values_of(configuration["static_resources"]["listeners"], "cluster"))

    assert UNKNOWN_CLUSTER not in defined
    assert named - defined == {UNKNOWN_CLUSTER}


def test_the_gateway_knows_every_error_detail_that_a_service_may_send(configuration: dict[str, Any]) -> None:
    for content in values_of(configuration, "proto_descriptor_bin"):
        files = descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(content)).file
        known = {f"{file.package}.{message.name}" for file in files for message in file.message_type}
        assert {"google.rpc.Status", "google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo"} <= known


def test_filters_come_in_the_order_that_makes_them_safe(configuration: dict[str, Any]) -> None:
    entry = next(each for each in configuration["static_resources"]["listeners"] if each["name"] == "entry")
    filters = entry["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]

    assert [each["name"].removeprefix("envoy.filters.http.") for each in filters] == [
        "health_check",
        "cors",
        "grpc_web",
        "focusmesh.edge",
        "focusmesh.grpc_web_rewritten",
        "focusmesh.grpc_web_deadline",
        "focusmesh.rate.address",
        "jwt_authn",
        "focusmesh.rate.user",
        "header_mutation",
        "body_size_limit",
        "focusmesh.body_size_limit_of_files",
        "focusmesh.head",
        "focusmesh.rest_requests",
        "grpc_json_transcoder",
        "router",
    ]


@pytest.mark.parametrize(
    "text", ["1 then 1/s", "60 then 30/s", "10 then 20/min", "100 then 1250/min", "9 then 6000/min"]
)
def test_an_allowance_comes_back_at_its_rate_and_once_a_second_at_most(text: str) -> None:
    bucket = Bucket.parse(text)
    filled = generate._bucket(bucket)
    seconds = float(filled["fill_interval"].removesuffix("s"))

    assert seconds >= 0.9
    assert filled["tokens_per_fill"] / seconds == pytest.approx(bucket.refill / bucket.per_seconds, rel=0.01)


def test_a_page_of_a_developers_machine_may_call_there_and_nowhere_else() -> None:
    allowed = {name: settings.allowed_origins for name, (_, settings) in TARGETS.items()}

    assert {"http://localhost:3000", "http://localhost:5173", "http://127.0.0.1:8080"} <= set(allowed["machine"])
    assert allowed["cluster"] == ()


def test_without_a_collector_nothing_is_traced(configuration: dict[str, Any]) -> None:
    assert not list(values_of(configuration["static_resources"], "provider"))


def test_on_one_machine_everything_listens_on_loopback() -> None:
    listeners = generate.bootstrap(*TARGETS["machine"])["static_resources"]["listeners"]

    assert {each["address"]["socket_address"]["address"] for each in listeners} == {"127.0.0.1"}


def test_in_the_cluster_services_are_found_by_name() -> None:
    endpoints, settings = TARGETS["cluster"]
    todo = next(each for each in clusters(endpoints, settings) if each["name"] == "todo")

    [endpoint] = todo["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert todo["type"] == "STRICT_DNS"
    assert endpoint["endpoint"]["address"]["socket_address"]["address"] == "todo.focusmesh.svc.cluster.local"


def test_every_replica_is_called_and_watched() -> None:
    _, settings = TARGETS["machine"]
    endpoints = {
        "realtime": [("127.0.0.1", 1), ("127.0.0.1", 2)],
        "realtime_ws": [("127.0.0.1", 11), ("127.0.0.1", 12)],
    }
    websocket = next(each for each in clusters(endpoints, settings) if each["name"] == "realtime_ws")

    hosts = [each["endpoint"] for each in websocket["load_assignment"]["endpoints"][0]["lb_endpoints"]]
    assert [host["address"]["socket_address"]["port_value"] for host in hosts] == [11, 12]
    assert [host["health_check_config"]["port_value"] for host in hosts] == [1, 2]
    assert websocket["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}


def test_a_service_itself_decides_what_it_does_at_once_and_open_streams_are_counted_apart() -> None:
    settings = GatewaySettings()
    endpoints = {"todo": [("127.0.0.1", 1), ("127.0.0.1", 2)], "realtime": [("127.0.0.1", 3)]}
    limits = {
        cluster["name"]: {
            limit.get("priority", "DEFAULT"): limit["max_requests"]
            for limit in cluster["circuit_breakers"]["thresholds"]
        }
        for cluster in clusters(endpoints, settings)
        if "circuit_breakers" in cluster
    }
    streaming = {method.grpc_path for method in descriptors.load().rpcs if method.streaming and method.exposed}

    assert limits["todo"]["DEFAULT"] == 2 * limits["realtime"]["DEFAULT"]
    assert limits["realtime"]["DEFAULT"] > ServiceSettings.max_concurrent_calls
    allowed = settings.allowances
    assert ServiceSettings.max_concurrent_calls > allowed.read.burst + allowed.write.burst
    assert limits["realtime"]["HIGH"] > ServiceSettings.max_concurrent_streams
    routed = {
        route["match"]["path"]
        for routes in values_of(generate.bootstrap(*TARGETS["machine"]), "routes")
        for route in routes
        if route.get("route", {}).get("priority") == "HIGH"
    }
    assert routed == streaming


def test_pods_speak_mtls_where_certificates_are_given() -> None:
    tls = UpstreamTls(Path("/tls/tls.crt"), Path("/tls/tls.key"), Path("/tls/ca.crt"))
    endpoints, _ = TARGETS["cluster"]

    secured = [each for each in clusters(endpoints, GatewaySettings(upstream_tls=tls)) if "transport_socket" in each]

    assert {each["name"] for each in secured} == set(endpoints)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    endpoints, settings = TARGETS["machine"]
    path = tmp_path / "new" / "gateway.json"

    generate.write(path, endpoints, settings)

    assert json.loads(path.read_text())["admin"]
    assert [each.name for each in path.parent.iterdir()] == ["gateway.json"]


@pytest.mark.parametrize("target", ["machine", "cluster"])
def test_the_command_writes_a_configuration(tmp_path: Path, target: str) -> None:
    assert generate.main(["--target", target, "--out", str(tmp_path / "gateway.json")]) == 0
    assert json.loads((tmp_path / "gateway.json").read_text())["static_resources"]


def test_every_error_of_the_gateway_has_a_reason_and_a_number() -> None:
    for response in RESPONSES:
        assert response.reason.isupper()
        assert response.number == code_pb2.Code.Value(response.code) > 0


class TestSettings:
    def test_allowances_are_read_from_the_environment(self) -> None:
        environment = {
            "FOCUSMESH_GATEWAY_RATE_READ": "60 then 30/s",
            "FOCUSMESH_GATEWAY_RATE_CREDENTIAL": "10 then 20/min",
        }

        allowances = GatewaySettings.from_environment(environment).allowances

        assert allowances == Allowances(read=Bucket(60, 30, 1), credential=Bucket(10, 20, 60))

    @pytest.mark.parametrize("text", ["60", "60/s", "0 then 1/s", "5 then 0/s", "a then b/s", "5 then 5/h"])
    def test_a_bad_allowance_is_refused(self, text: str) -> None:
        with pytest.raises(SettingsError, match="allowance"):
            GatewaySettings.from_environment({"FOCUSMESH_GATEWAY_RATE_READ": text})

    def test_an_unknown_allowance_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="RATE_RAED"):
            GatewaySettings.from_environment({"FOCUSMESH_GATEWAY_RATE_RAED": "1 then 1/s"})

    def test_the_rest_of_the_environment_is_understood(self) -> None:
        settings = GatewaySettings.from_environment(
            {
                "FOCUSMESH_ALLOWED_ORIGINS": "https://a.example, https://b.example",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
                "FOCUSMESH_TRACE_RATIO": "0.25",
                "FOCUSMESH_GATEWAY_KEY_CACHE_SECONDS": "60",
                "FOCUSMESH_GATEWAY_CALLS_AT_ONCE": "240",
                "FOCUSMESH_GATEWAY_UPSTREAM_TLS": "/a.crt,/a.key,/ca.crt",
                "FOCUSMESH_GATEWAY_TRUSTED_HOPS": "2",
                "FOCUSMESH_GATEWAY_PROXY_PROTOCOL": "true",
            },
            listen=("127.0.0.1", 1),
        )

        assert settings.allowed_origins == ("https://a.example", "https://b.example")
        assert (settings.otlp, settings.trace_percent) == (("collector", 4317), 25.0)
        assert (settings.key_cache_seconds, settings.calls_at_once) == (60, 240)
        assert (settings.trusted_hops, settings.proxy_protocol) == (2, True)
        assert settings.upstream_tls == UpstreamTls(Path("/a.crt"), Path("/a.key"), Path("/ca.crt"))
        assert settings.listen == ("127.0.0.1", 1)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("FOCUSMESH_GATEWAY_KEY_CACHE_SECONDS", "soon"),
            ("FOCUSMESH_TRACE_RATIO", "often"),
            ("FOCUSMESH_GATEWAY_TRUSTED_HOPS", "-1"),
            ("FOCUSMESH_GATEWAY_PROXY_PROTOCOL", "yes"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
            ("FOCUSMESH_GATEWAY_UPSTREAM_TLS", "/a.crt"),
        ],
    )
    def test_what_cannot_be_understood_is_refused(self, name: str, value: str) -> None:
        with pytest.raises(SettingsError):
            GatewaySettings.from_environment({name: value})
