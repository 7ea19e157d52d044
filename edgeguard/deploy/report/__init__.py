"""The report on a run, as one object: a function of the run's journal and of the visitors' samples."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgeguard.deploy import journal
from edgeguard.errors import UsageError
from edgeguard.site import samples as files
from edgeguard.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeguard.deploy.journal import Entry
    from edgeguard.site.samples import Sample

INTERNAL = ("proof", "finish")
_PURGED = ("keys", "requests", "ids", "reasons")
_OUTCOMES = {0: "deployed", 12: "deployed", 10: "rolled-back", 11: "held", 1: "abandoned", 130: "interrupted"}


def load(folder: Path) -> dict[str, Any]:
    """The report on the run whose journal is in this folder.

    Raises:
        UsageError: as journal.read; or what is left of the journal makes no report.
    """
    path = folder / "journal.jsonl"
    alive = journal.alive(path)  # before the journal is read: a run that ends in between has then written its end
    entries, samples = journal.read(path), files.read(folder / "samples.jsonl")
    try:
        return fold(entries, samples, alive=alive)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise UsageError(
            f"the journal {path} is damaged, and makes no report",
            "`edgeguard history` tells of the same deploy in short.",
        ) from exc


def journals(state: Path) -> list[Path]:
    """The folders of the runs that this machine knows of, oldest first."""
    return sorted(path.parent for path in state.glob("*/journal.jsonl"))


def forget_old(state: Path, *, keep: int) -> None:
    """Remove the folders of all runs but the newest `keep` and those that still run. No deploy needs them to be
    resumed or undone. A folder that can't be removed stays, and is tried again after the next run."""
    for folder in journals(state)[:-keep]:
        with suppress(OSError):
            if not journal.alive(folder / "journal.jsonl"):
                shutil.rmtree(folder)


def fold(entries: Sequence[Entry], samples: Sequence[Sample], *, alive: bool = True) -> dict[str, Any]:
    """The report. Durations are in seconds, times in RFC 3339. `alive`: a run without an end still runs."""
    first = entries[0]
    end = next((entry for entry in entries if entry["event"] == "end"), None)
    done = {entry["step"]: entry for entry in entries if entry["event"] == "done"}
    steps = _steps(entries)
    code = end["exit_code"] if end else None
    found = next((entry for entry in entries if entry["event"] == "found"), {})  # if an earlier run began the deploy
    closed_seconds, still_closed = _closed(entries)
    idle = code == 0 and done.get("build", {}).get("serves", False) and "lock" not in done  # --if-changed
    release, claim = done.get("build", found), {**first, **done.get("claim", {})}  # the base is known from the start
    return {
        "deploy": first["deploy"],
        "command": first["command"],
        "environment": first["environment"],
        "release": release.get("release"),
        "previous": done.get("preflight", found).get("previous"),
        "ref": release.get("ref", first["ref"]),
        "outcome": _outcome(code, first["command"], alive=alive),
        "exit_code": code,
        "error": end["error"] if end else None,
        "remedy": end["remedy"] if end else None,
        "started": rfc3339(first["at"]),
        "ended": rfc3339(end["at"]) if end else None,
        "phases": [step for step in steps if step["name"] not in INTERNAL],
        "closed_seconds": closed_seconds,
        "hook_seconds": next((step["seconds"] for step in steps if step["name"] == "hook"), None),
        "servers": end["servers"] if end else [],
        "without": first.get("without", []),
        "grace": {
            "base": claim.get("base"),
            "claimed": claim.get("claimed"),
            "until": rfc3339(claim["until"]) if "until" in claim else None,
            "confirmed_seconds": claim.get("confirmed_seconds"),
            "nodes": claim.get("nodes", []),
            **({"mechanism": claim["mechanism"]} if "mechanism" in claim else {}),  # only where nothing is claimed
        },
        "purged": {"keys": 0, "requests": 0, "ids": [], "reasons": []}
        | {key: done["purge"][key] for key in _PURGED if key in done.get("purge", {})},
        "visitors": files.summarize(samples),
        **({"skipped": skipped} if (skipped := done.get("open", {}).get("skipped")) else {}),
        **({"unchanged": True} if idle else {}),
        **({"still_closed": True} if still_closed else {}),
    }


def _outcome(code: int | None, command: str, *, alive: bool) -> str:
    if code is None:
        return "running" if alive else "abandoned"
    if code == 0 and command == "rollback":
        return "rolled-back"
    return _OUTCOMES.get(code, "refused")


def _steps(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    begun: dict[str, float] = {}
    for entry in entries:
        name = entry.get("step")
        if name is None:
            continue
        if entry["event"] == "begin":
            begun[name] = entry["at"]
            found[name] = {"name": name, "seconds": None, "outcome": "running"}
        elif name in found and entry["event"] in ("done", "failed"):
            if found[name]["outcome"] == "running":
                found[name]["seconds"] = round(entry["at"] - begun[name], 3)
                found[name]["outcome"] = entry["event"]
        elif name in found and entry["event"] in ("undone", "undo-failed") and found[name]["outcome"] == "done":
            found[name]["outcome"] = entry["event"]
    return list(found.values())


def _closed(entries: Sequence[Entry]) -> tuple[float | None, bool]:
    """For how many seconds the cluster was closed, or has been until the last entry; and whether it still is.

    A run's end tells the time over all runs of its deploy. A run without an end, or of an older edgeguard, knows its
    own part only: from a close, or from finding the cluster closed, to the opening after it.
    """
    total, since = 0.0, None
    closed = False
    for entry in entries:
        key = (entry["event"], entry.get("step"))
        if key in (("begin", "close"), ("undoing", "open")) or (entry["event"] == "found" and entry.get("closed")):
            since, closed = since or entry["at"], True
        elif key in (("done", "open"), ("undone", "close")) and since is not None:
            total, since = total + entry["at"] - since, None
    last = entries[-1]
    still_closed = last.get("closed", since is not None)
    if last.get("closed_seconds") is not None:
        return last["closed_seconds"], still_closed
    if not closed:
        return None, False
    return round(total + (last["at"] - since if since is not None else 0.0), 3), still_closed
