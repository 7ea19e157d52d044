"""What a pusher and an installer are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHORT = 12  # characters of a commit
_NAMED = 5  # branches
_LONGEST = 100  # characters of a name


def installed(content: Mapping[str, Any]) -> str:
    """What `git install` has done, or would do."""
    which = _deploying(content["environments"])
    head = f"{content['repository']}: {which}"
    if not content["acts"]:
        return f"{head}; this is so already"
    return "\n".join([head, *(f"  {'would ' if content['dry_run'] else ''}{act}" for act in content["acts"])])


@dataclass(frozen=True)
class Heard:
    """Puts events of pushes into words. `several`: lines of output name their environment."""

    several: bool

    def text(self, event: Mapping[str, Any]) -> str:
        """The words for an event."""
        kind = event["event"]
        if kind == "output":
            return f"[{event['environment']}] {event['text']}" if self.several else str(event["text"])
        if kind == "ignored":
            what = _names(event["branches"])
            return f"nothing is deployed for {what}: here {_deploying(event['deploying'])}"
        if kind == "no-branches":
            return f"nothing is deployed for {_names(event['refs'])}: only branches are"
        return f"{event['environment']}: {_of_environment(event)}"


def _of_environment(event: Mapping[str, Any]) -> str:
    commit, running = str(event.get("commit", ""))[:_SHORT], str(event.get("running") or "")[:_SHORT]
    under_way = f"{running} is being deployed" if running else "another push is being deployed"
    match event["event"]:
        case "deleted":
            text = f"its branch {_name(event['branch'])} was deleted: nothing is deployed, and what serves stays"
        case "nothing-left":
            text = f"nothing that was pushed to {_name(event['branch'])} is left without a deploy"
        case "left":
            text = f"push {event['push']} ({commit}) was left by a process that died, and is deployed now"
        case "refused":
            text = f"{under_way}, so {commit} is not deployed; afterwards, {_by_hand(event, commit)}"
        case "pushed":
            text = _pushed(event, commit, under_way)
        case _:
            text = _ended(event, commit)
    return text


def _pushed(event: Mapping[str, Any], commit: str, under_way: str) -> str:
    what = f"{commit} of {_name(event['branch'])}"
    what += f" ({on_one_line(event['subject'])})" if event["subject"] else ""
    what += " (forced: commits that were in the branch are not in it any more)" if event["forced"] else ""
    if event["waits"]:
        return f"{under_way}; {what} waits, and is deployed next unless a newer push comes"
    return f"deploys {what}; the deploy goes on if you hang up"


def _ended(event: Mapping[str, Any], commit: str) -> str:
    how, code = event["how"], event["exit_code"]
    if how == "skipped":
        return f"{commit} is not deployed: push {event['instead']} is newer, and is deployed instead"
    if how == "died":
        return f"the process that deployed {commit} died; the newer push {event['instead']} is deployed now"
    if how == "left":
        return (
            f"the process that deployed {commit} died; the next push, or `edgeguard git receive … --retry`, deploys it"
        )
    if code == 0:
        return f"{commit} is deployed"
    locked = 3
    further = f"; nothing was done. Afterwards, {_by_hand(event, commit)}" if code == locked else ""
    return f"the deploy of {commit} ended with exit code {code}{further}"


def _by_hand(event: Mapping[str, Any], commit: str) -> str:
    return f"`edgeguard deploy {event['environment']} --ref {commit}` deploys it"


def _deploying(environments: Mapping[str, str]) -> str:
    return ", ".join(f"{_name(branch)} deploys {name}" for name, branch in environments.items())


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} others" if len(names) > _NAMED else ""
    return ", ".join(map(_name, names[:_NAMED])) + more


def _name(text: str) -> str:
    """A name of others, on one line and not without end."""
    return on_one_line(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
