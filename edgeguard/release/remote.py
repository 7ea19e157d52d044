"""A repository's URL without its secrets, and the way in which Git hears of them.

They are never an argument, which every user of the machine could read, and never in a mirror's configuration.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from edgeguard.errors import UsageError

_HELPER = """!printf 'username=%s\\npassword=%s\\n' "$EDGEGUARD_REPOSITORY_USER" "$EDGEGUARD_REPOSITORY_PASSWORD"; :"""
"""A credential helper (Git: gitcredentials). A shell's own printf has no arguments that others could read."""
_SECRET_NAME = re.compile(r"[?&][^=&]*(?:token|key|secret|pass|pwd|auth|sig|cred)[^=&]*=", re.IGNORECASE)


class Remote(NamedTuple):
    """`address` has no secret in it. `settings` and `variables` are what Git needs to be let in: settings for
    GIT_CONFIG_…, and variables of its environment."""

    address: str
    settings: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


OPEN = Remote("")
"""Nothing that Git would have to be told."""


def of(repository: str) -> Remote:
    """What a repository's path or URL says.

    Raises:
        UsageError: Git could not be told of a secret in it without showing it to others.
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^/?#]*)@)?([^/?#]*)", repository)
    if found is None:
        return Remote(repository)
    if _SECRET_NAME.search(repository):
        said = "the repository's URL has a secret in its query, which Git would show to all users of this machine"
        raise UsageError(said, "Write https://user:token@host/…, or leave it to Git's credential helper.")
    scheme, userinfo, host = found[1].lower(), found[2] or "", found[3]
    user, _, password = map(unquote, userinfo.partition(":"))
    if not userinfo or (scheme not in ("http", "https") and not password):
        return Remote(repository)  # a user alone is no secret where keys let it in: ssh://git@…
    if scheme not in ("http", "https") or re.search(r"[\x00-\x1f\x7f]", user + password):
        raise UsageError(
            "the repository's URL has a password that Git can't be told", "Let a key or https:// let it in."
        )
    site = f"{scheme}://{host}"
    none = () if not password else ((f"credential.{site}.helper", ""),)  # a user alone may have a password elsewhere
    return Remote(
        site + repository[found.end() :],
        ((f"credential.{site}.username", user), *none, (f"credential.{site}.helper", _HELPER)),
        (("EDGEGUARD_REPOSITORY_USER", user), ("EDGEGUARD_REPOSITORY_PASSWORD", password)),
    )
