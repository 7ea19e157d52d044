"""The other objects of a version: backends, health checks, conditions, headers, domains, VCL files, and settings.

They are kept, listed and cloned; only custom VCL has an effect (docs/standin.md lists what is not imitated).

The fields, and which of them hold numbers as strings, come from recordings of the real API
(github.com/fastly/go-fastly, fastly/fixtures) and from Fastly: reference/api/vcl-services. Two answers differ from the
recordings, or were not recorded: prefer_ipv6 is false where a VCL service was recorded with null, which the official
Python client refuses (github.com/fastly/fastly-py/issues/106); and a name that is taken answers as for other kinds.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeguard.standin.problems import Problem, missing

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

TRUE = frozenset({"1", "true"})
"""The forms of "yes" that clients send, in any case: the official Python client sends "True"."""


@dataclass(frozen=True)
class Kind:
    """One kind of object: its name in messages, the plural that a service's details use, and the fields' defaults."""

    record: str
    plural: str
    fields: Json
    number_as_text: bool = False
    """Whether `version` is a string, as in the older endpoints."""
    nullable: dict[str, type] = field(default_factory=dict)
    """The types of fields that are null until they are set, and when they are set to nothing."""

    def filled(self, old: Mapping[str, Any], form: Mapping[str, str]) -> Json:
        """The fields, with the form's values in place of the old. Unknown fields are ignored. Raises Problem (400)."""
        return {key: self._value(key, form[key]) if key in form else value for key, value in old.items()}

    def _value(self, key: str, text: str) -> object:
        kind = self.nullable.get(key)
        return None if kind and not text else _typed(kind or type(self.fields[key]), text)


def absent(record: str, service_id: str, number: int, name: str) -> Problem:
    """A 404: a version has no such record of this name."""
    by = {"deleted": "0000-00-00 00:00:00", "name": name, "service": service_id, "version": number}
    return missing(record, by)


def _typed(kind: type, text: str) -> object:
    if kind is bool:
        return text.lower() in TRUE
    if kind is list:
        return _headers(text)
    return integer(text) if kind is int else text


def _headers(text: str) -> list[str]:
    """The headers of a health check. They are sent as a list in JSON, and shown in order, with a space behind ":"."""
    try:
        rows = json.loads(text) if text.startswith("[") else [text]
    except ValueError:
        raise Problem(400, "Bad request", f"'{text}' is not a list of headers") from None
    return sorted(re.sub(r":\s*", ": ", str(row), count=1) for row in rows if row)


def integer(text: str) -> int:
    """A form's text as a number. Raises Problem (400)."""
    try:
        return int(text)
    except ValueError:
        raise Problem(400, "Bad request", f"'{text}' is not a number") from None


def addressed(form: Mapping[str, str]) -> dict[str, str]:
    """A new backend's form with the address repeated in `hostname`, as recorded, or in `ipv4` or `ipv6`."""
    address = form.get("address", "")
    try:
        kind = f"ipv{ipaddress.ip_address(address).version}"
    except ValueError:
        kind = "hostname"
    return {kind: address, **form}


_TEXTS = (
    *("client_cert", "healthcheck", "hostname", "ipv4", "ipv6", "max_tls_version", "min_tls_version"),
    *("override_host", "share_key", "shield"),
    *(f"ssl_{name}" for name in ("ca_cert", "cert_hostname", "ciphers", "client_cert", "client_key", "hostname")),
    "ssl_sni_hostname",
)
_BACKEND = {
    **dict.fromkeys(_TEXTS, str),
    "keepalive_time": int,
    "tcp_keepalive_enable": bool,
    **{f"tcp_keepalive_{name}": int for name in ("interval", "probes", "time")},
}
_REQUEST_SETTINGS = (
    *("action", "bypass_busy_wait", "default_host", "force_miss", "force_ssl", "geo_headers", "hash_keys"),
    *("max_stale_age", "timer_support"),
)

KINDS = {
    "backend": Kind(
        "Backend",
        "backends",
        {
            "address": "",
            "auto_loadbalance": False,
            "between_bytes_timeout": 10_000,
            "comment": "",
            "connect_timeout": 1000,
            "error_threshold": 0,
            "first_byte_timeout": 15_000,
            "max_conn": 200,
            "port": 80,
            "prefer_ipv6": False,
            "request_condition": "",
            "ssl_check_cert": True,
            "use_ssl": False,
            "weight": 100,
            **dict.fromkeys(_BACKEND),
        },
        nullable=_BACKEND,
    ),
    "healthcheck": Kind(
        "Healthcheck",
        "healthchecks",
        {
            "check_interval": 5000,
            "comment": "",
            "expected_response": 200,
            "headers": [],
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
    "condition": Kind(
        "Condition",
        "conditions",
        {"comment": "", "priority": "100", "statement": "", "type": "REQUEST"},
        number_as_text=True,
    ),
    "request_settings": Kind(
        "RequestSettings",
        "request_settings",
        {**dict.fromkeys(_REQUEST_SETTINGS), "request_condition": "", "xff": "append"},
        number_as_text=True,
    ),
    "cache_settings": Kind(
        "CacheSettings",
        "cache_settings",
        {"action": None, "cache_condition": "", "stale_ttl": "0", "ttl": None},
        number_as_text=True,
    ),
    "header": Kind(
        "Header",
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
    "domain": Kind("Domain", "domains", {"comment": ""}),
    "vcl": Kind("VCL", "vcls", {"content": "", "main": False}),
}
