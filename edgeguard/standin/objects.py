"""The other objects of a version: backends, health checks, request and cache settings, headers, domains, VCL files.

They are kept, listed and cloned; only custom VCL has an effect (the package lists what is not imitated).

The fields, and which of them hold numbers as strings, come from recordings of the real API
(github.com/fastly/go-fastly, fastly/fixtures) and from Fastly: reference/api/vcl-services. Two answers are
assumptions, since they were not recorded: an update answers with the object, and a name that is taken answers as for
other kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.standin.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

TRUE = frozenset({"1", "true"})
"""The forms of "yes" that clients send, in any case: the official Python client sends "True"."""


@dataclass(frozen=True)
class Kind:
    """One kind of object: the plural that a service's details use, and the fields with their defaults."""

    plural: str
    fields: Json
    number_as_text: bool = False
    """Whether `version` is a string, as in the older endpoints."""

    def filled(self, old: Mapping[str, Any], form: Mapping[str, str]) -> Json:
        """The fields, with the form's values in place of the old. Unknown fields are ignored. Raises Problem (400)."""
        return {key: _like(self.fields[key], form[key]) if key in form else value for key, value in old.items()}


def _like(default: object, text: str) -> object:
    if isinstance(default, bool):
        return text.lower() in TRUE
    return integer(text) if isinstance(default, int) else text


def integer(text: str) -> int:
    """A form's text as a number. Raises Problem (400)."""
    try:
        return int(text)
    except ValueError:
        raise Problem(400, "Bad request", f"'{text}' is not a number") from None


_TLS = ("ca_cert", "cert_hostname", "ciphers", "client_cert", "client_key", "hostname", "sni_hostname")
_ALIVE = ("enable", "interval", "probes", "time")

KINDS = {
    "backend": Kind(
        "backends",
        {
            "address": "",
            "auto_loadbalance": False,
            "between_bytes_timeout": 10_000,
            "client_cert": None,
            "comment": "",
            "connect_timeout": 1000,
            "error_threshold": 0,
            "first_byte_timeout": 15_000,
            "healthcheck": None,
            "hostname": None,
            "ipv4": None,
            "ipv6": None,
            "keepalive_time": None,
            "max_conn": 200,
            "max_tls_version": None,
            "min_tls_version": None,
            "override_host": None,
            "port": 80,
            "prefer_ipv6": None,
            "request_condition": "",
            "share_key": None,
            "shield": None,
            "ssl_check_cert": True,
            "use_ssl": False,
            "weight": 100,
            **{f"ssl_{name}": None for name in _TLS},
            **{f"tcp_keepalive_{name}": None for name in _ALIVE},
        },
    ),
    "healthcheck": Kind(
        "healthchecks",
        {
            "check_interval": 5000,
            "comment": "",
            "expected_response": 200,
            "host": "",
            "http_version": "1.1",
            "initial": 2,
            "method": "HEAD",
            "path": "/",
            "threshold": 3,
            "timeout": 500,
            "window": 5,
        },
    ),
    "request_settings": Kind(
        "request_settings",
        {
            "action": None,
            "bypass_busy_wait": None,
            "default_host": None,
            "force_miss": None,
            "force_ssl": None,
            "geo_headers": None,
            "hash_keys": None,
            "max_stale_age": None,
            "request_condition": "",
            "timer_support": None,
            "xff": "append",
        },
        number_as_text=True,
    ),
    "cache_settings": Kind(
        "cache_settings",
        {"action": None, "cache_condition": "", "stale_ttl": "0", "ttl": None},
        number_as_text=True,
    ),
    "header": Kind(
        "headers",
        {
            "action": "set",
            "cache_condition": None,
            "dst": "",
            "ignore_if_set": "0",
            "priority": "100",
            "regex": "",
            "request_condition": None,
            "response_condition": None,
            "src": "",
            "substitution": "",
            "type": "request",
        },
        number_as_text=True,
    ),
    "domain": Kind("domains", {"comment": ""}),
    "vcl": Kind("vcls", {"content": "", "main": False}),
}
