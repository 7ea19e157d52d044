"""What people do with Fastly's official client: a call a key, and a new version of the service for another grace.

`python with_fastly_client.py WORD API_URL SERVICE FILE`, with the token in FASTLY_API_TOKEN:
`service` makes a service (SERVICE is its name) and prints its id; `purge` purges each key of FILE softly; `grace` gives
pages two hours of grace.
"""

# ruff: noqa: T201 (a program that prints)

from __future__ import annotations

import os
import sys
from pathlib import Path

import fastly
from fastly.api.backend_api import BackendApi
from fastly.api.domain_api import DomainApi
from fastly.api.purge_api import PurgeApi
from fastly.api.service_api import ServiceApi
from fastly.api.snippet_api import SnippetApi
from fastly.api.version_api import VersionApi

_GRACE = "set beresp.stale_if_error = 7200s;"


def made(client: fastly.ApiClient, name: str) -> str:
    """Make a service with an active version. Returns its id."""
    service = str(ServiceApi(client).create_service(name=name, type="vcl").id)
    DomainApi(client).create_domain(service, 1, name=f"{name}.example.com")
    BackendApi(client).create_backend(service, 1, name="origin", address="127.0.0.1")
    VersionApi(client).activate_service_version(service, 1)
    return service


def purge(client: fastly.ApiClient, service: str, keys: list[str]) -> None:
    """Purge each key with a call of its own."""
    purges = PurgeApi(client)
    for key in keys:
        purges.purge_tag(service, key, fastly_soft_purge=1)


def grace(client: fastly.ApiClient, service: str) -> None:
    """Clone the active version, edit it, validate and activate it."""
    versions = VersionApi(client)
    active = next(version.number for version in versions.list_service_versions(service) if version.active)
    draft = versions.clone_service_version(service, active).number
    form = {"type": "fetch", "dynamic": "0", "priority": "100", "content": _GRACE}
    SnippetApi(client).create_snippet(service, draft, name=f"grace {draft}", **form)
    versions.validate_service_version(service, draft)
    versions.activate_service_version(service, draft)


def main(word: str, api_url: str, service: str, file: str) -> None:
    """Do what the word says."""
    configuration = fastly.Configuration(host=api_url)
    configuration.api_token = os.environ["FASTLY_API_TOKEN"]
    with fastly.ApiClient(configuration) as client:
        if word == "service":
            print(made(client, service))
        elif word == "purge":
            purge(client, service, Path(file).read_text(encoding="utf-8").split())
        else:
            grace(client, service)


if __name__ == "__main__":
    main(*sys.argv[1:])
