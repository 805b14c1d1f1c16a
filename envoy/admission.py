"""Admission: where a service refuses much of what it is sent, most of the rest is refused before it costs anything.

A refusal at the end of the way costs Envoy as much as half a call: the token is verified, the request routed and
transcoded. One window of successes for each path, so that no other path suffers.
"""

from typing import Any

from contract.methods import Method

Json = dict[str, Any]

_TYPE = "type.googleapis.com"
_WINDOW = "2s"
_LEAST_RATE = 150
"""Calls a second of a path from which on any are refused: fewer do no harm."""
_SUCCESSES_PERCENT = 95
"""Below it calls are refused, the more the fewer succeed."""
_MOST_PERCENT = 95
"""Of calls refused; the others find out whether the service works again."""
_UNAVAILABLE, _GRPC_UNAVAILABLE, _GRPC_CODES = 503, 14, 17


def admission(methods: list[Method]) -> Json:
    """The filter, for every RPC that may be called from outside, by both its names."""
    prefixes = {prefix: _limited() for method in methods if method.exposed for prefix in _prefixes(method)}
    path = {"@type": f"{_TYPE}/envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}
    composite = {"@type": f"{_TYPE}/envoy.extensions.filters.http.composite.v3.Composite"}
    return {
        "name": "focusmesh.admission",
        "typed_config": {
            "@type": f"{_TYPE}/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": {"name": "envoy.filters.http.composite", "typed_config": composite},
            "xds_matcher": {
                "matcher_tree": {
                    "input": {"name": "path", "typed_config": path},
                    "prefix_match_map": {"map": prefixes},
                }
            },
        },
    }


def _prefixes(method: Method) -> list[str]:
    """What paths of the RPC begin with."""
    package = f"/{method.full_service.rpartition('.')[0]}."
    return [package, method.binding.template.partition("{")[0]] if method.binding else [package]


def _limited() -> Json:
    """Only UNAVAILABLE counts as a failure: users who are refused for what they do must not cost others their calls."""
    config = {
        "@type": f"{_TYPE}/envoy.extensions.filters.http.admission_control.v3.AdmissionControl",
        "enabled": {"default_value": True},
        "sampling_window": _WINDOW,
        "aggression": {"default_value": 2.0},
        "sr_threshold": {"default_value": {"value": _SUCCESSES_PERCENT}},
        "rps_threshold": {"default_value": _LEAST_RATE},
        "max_rejection_probability": {"default_value": {"value": _MOST_PERCENT}},
        "success_criteria": {
            "http_criteria": {
                "http_success_status": [
                    {"start": 100, "end": _UNAVAILABLE},
                    {"start": _UNAVAILABLE + 1, "end": 600},
                ]
            },
            "grpc_criteria": {
                "grpc_success_status": [code for code in range(_GRPC_CODES) if code != _GRPC_UNAVAILABLE]
            },
        },
    }
    action = {
        "@type": f"{_TYPE}/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
        "typed_config": {"name": "envoy.filters.http.admission_control", "typed_config": config},
    }
    return {"action": {"name": "admission", "typed_config": action}}
