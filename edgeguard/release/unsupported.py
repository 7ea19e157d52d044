"""What becomes of the keys of an application's file that are not read: each is refused, or named in a warning.

A key is refused where the application would run otherwise, or would be served otherwise, than its authors expect. It
gets a warning where it can't matter. Nothing is dropped silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ANY = "*"


@dataclass(frozen=True)
class Refused:
    """A key that can't be used, by its `path`: what is wrong, and what to do, without a full stop."""

    said: str
    remedy: str
    path: str = ""


@dataclass(frozen=True)
class _Ignored:
    """A key that can't matter, and why. Without a reason, nobody knows the key."""

    why: str


_READ = None
_SIZE = _Ignored("servers are as large as they are; ignored")
_BY_HAND = _Ignored("nothing calls it here; ignored")
_UNKNOWN = _Ignored("not supported, ignored")
_SHARED = "every server has a folder of its own; share <cluster.root>/mounts between the servers yourself"
_SERVE = "Let the application serve these files, and take the key out"
_EVERYWHERE: dict[str, Any] = {
    **dict.fromkeys(("size", "disk", "resources", "container_profile"), _SIZE),
    "access": _Ignored("who may log in to servers is not said here; ignored"),
    "additional_hosts": Refused("edgeguard changes no names of hosts", "Write them into /etc/hosts of the servers"),
    "firewall": Refused("edgeguard sets up no firewall", "Set these rules up on the servers"),
}
_COMMANDS = {"pre_start": _READ, "start": _READ, "post_start": _READ}
_OLD_WEB = Refused("no gate serves files", _SERVE)
_KEYS: dict[str, Any] = {
    **_EVERYWHERE,
    **dict.fromkeys(("name", "type", "mounts", "relationships", "timezone", "stack"), _READ),
    "variables": {"php": _Ignored("PHP is not set up by them; they are in PLATFORM_VARIABLES alone"), _ANY: _READ},
    "source": {"root": _READ, "operations": _BY_HAND},
    "operations": _BY_HAND,
    "build": {"flavor": _READ},
    "dependencies": {
        "python3": _READ,
        "nodejs": _READ,
        _ANY: Refused("only packages of python3 and nodejs are installed", "Install these in hooks.build"),
    },
    "hooks": dict.fromkeys(("build", "deploy", "post_deploy"), _READ),
    "runtime": Refused("edgeguard sets up no runtime", "Set it up on the servers and on the machine that builds"),
    "web": {
        "commands": {**_COMMANDS, "stop": Refused("a web process gets SIGTERM", "Let it end itself on SIGTERM")},
        "upstream": dict.fromkeys(("socket_family", "protocol"), _READ),
        "locations": _READ,
        **dict.fromkeys(("document_root", "passthru", "index_files", "whitelist", "blacklist", "expires"), _OLD_WEB),
    },
    "crons": {
        _ANY: {
            **dict.fromkeys(("spec", "cmd", "timeout"), _READ),
            "commands": {"start": _READ, "stop": _READ},
            "shutdown_timeout": _Ignored("what still runs 2 s after it was asked to end is killed; ignored"),
        }
    },
    "workers": {
        _ANY: {
            **_EVERYWHERE,
            "commands": {**_COMMANDS, "stop": _READ},
            "variables": {"env": _READ},
            "mounts": _READ,
            "relationships": _READ,
        }
    },
}


def keys(application: Mapping[Any, Any]) -> tuple[tuple[Refused, ...], tuple[str, ...]]:
    """The keys of an application that are refused, and a sentence for each that is ignored."""
    refused: list[Refused] = []
    ignored: list[str] = []
    for path, verdict in (*_walk(application, _KEYS, ""), *_locations(application), *_mounts(application)):
        if isinstance(verdict, Refused):
            refused.append(Refused(verdict.said, verdict.remedy, path))
        else:
            ignored.append(f"{path}: {verdict.why}")
    return tuple(refused), tuple(ignored)


def _walk(said: object, known: Mapping[str, Any], above: str) -> Iterator[tuple[str, Refused | _Ignored]]:
    for key, below in said.items() if isinstance(said, dict) else ():
        path = f"{above}.{key}".removeprefix(".")
        verdict = known.get(key, known.get(_ANY, _UNKNOWN))
        if isinstance(verdict, dict):
            yield from _walk(below, verdict, path)
        elif verdict is not _READ:
            yield path, verdict


def _below(said: object, *path: str) -> Mapping[Any, Any]:
    for key in path:
        said = said.get(key) if isinstance(said, dict) else None
    return said if isinstance(said, dict) else {}


def _locations(application: Mapping[Any, Any]) -> Iterator[tuple[str, Refused | _Ignored]]:
    """Each location has to be the application's: edgeguard and its gates pass every request on, and serve no files."""
    for place, location in _below(application, "web", "locations").items():
        path, found = f"web.locations.{place}", _below({"it": location}, "it")
        rules = [rule for rule in _below(found, "rules").values() if isinstance(rule, dict)]
        files = found.get("allow", True) or any(rule.get("allow") for rule in rules)
        if found.get("root") is not None and files:
            yield f"{path}.root", Refused(f"no gate serves the files of {found['root']!r}", _SERVE)
        elif isinstance(found.get("passthru"), str):
            yield (
                f"{path}.passthru",
                Refused("requests can't be led to one script", "Let the application take every path"),
            )
        elif not found.get("passthru") or any("passthru" in rule and not rule["passthru"] for rule in rules):
            refusing = "Let the application refuse it, with passthru: true"
            yield path, Refused("no gate refuses what is not passed on", refusing)
        for key in found:
            if key not in _OF_FILES:
                yield f"{path}.{key}", _UNKNOWN
        if "request_buffering" in found:
            yield f"{path}.request_buffering", _Ignored("the gate decides on it; ignored")


_OF_FILES = {"root", "passthru", "index", "expires", "allow", "scripts", "headers", "rules", "request_buffering"}
"""The keys of a location. All but `passthru` are about files only, and matter where there is a `root`."""


def _mounts(application: Mapping[Any, Any]) -> Iterator[tuple[str, Refused | _Ignored]]:
    workers = _below(application, "workers")
    for above, said in (("mounts", application), *((f"workers.{name}.mounts", said) for name, said in workers.items())):
        for place, mount in _below({"it": said}, "it", "mounts").items():
            if isinstance(mount, dict) and mount.get("source") in ("service", "storage"):
                yield f"{above}.{place}.source", _Ignored(f"{mount['source']}: {_SHARED}")
