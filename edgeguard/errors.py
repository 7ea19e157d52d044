"""Everything that can go wrong, as one tree. Each class has its exit code; each error says what to do now.

    EdgeguardError               1   a bug, unless a subclass says otherwise
    ├── UsageError               2   the command line, a file of ours, the repository's own file
    ├── Locked                   3   somebody else holds the lock, or a deploy is unfinished
    ├── Refused                  4   preflight said no; nothing was touched
    ├── EdgeError                5   the edge's API
    │   ├── EdgeUnauthorized         the token is wrong, or may not do this
    │   ├── EdgeUnavailable          no answer, 5xx or throttled: the same call may work later
    │   │   └── EdgeNotDone              and surely nothing was done
    │   └── ActiveChanged            somebody else activated another version meanwhile
    ├── ClusterError             6   a server or its driver
    │   ├── Fenced                   a newer holder of the lock has taken over
    │   ├── NotClosed                the gate is open, and this is done behind a closed gate only
    │   ├── NotStaged                the generation is not on the server
    │   ├── ImageChanged             the image is not as it was built
    │   ├── Unhealthy                the application does not answer, or something else runs in its place
    │   ├── HookFailed               the deploy hook exited non-zero, or was ended at its limit
    │   ├── HookStarted              the hook was started before; it is never started twice by itself
    │   ├── HookRuns                 the hook was left running
    │   └── HookUnknown              the hook was started, and it is not known how it ended
    ├── OriginsUnhealthy         7   the front door does not answer as it should
    ├── BuildFailed              8   the image could not be built
    ├── NotConfirmed             9   a write succeeded, but the edge does not show it
    ├── RolledBack              10   the deploy failed, and the previous release is serving again
    ├── Held                    11   the deploy failed, and a person is needed
    ├── CleanupUnfinished       12   the deploy (or a pipeline's) has ended, but something is left to do
    └── Interrupted            130   a signal came before anything was closed

Foreign exceptions become these errors once, at the border where they arise, with `raise … from exc`.
"""

from __future__ import annotations

from typing import Self


class EdgeguardError(Exception):
    """Something went wrong. `message` says what; `remedy` says what to do now (one sentence, or empty).
    Spaces at its beginning are dropped: sentences may be put behind another one that is empty.

    The first line of a message can stand alone. The output of other programs may follow it, in indented lines.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy.lstrip()

    def with_more(self, *more: str, message: str | None = None, remedy: str | None = None) -> Self:
        """A new error of the same kind. Its message goes on with `more`; message and remedy are these, if given.

        An error is never changed after it was raised: raise the new one `from` it.
        """
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.message = joined(self.message if message is None else message, *more)
        new.remedy = self.remedy if remedy is None else remedy.lstrip()
        new.args = (new.message,)
        return new


def first_line(message: str) -> str:
    """A message without the output of other programs that follows it."""
    return message.partition("\n")[0]


def joined(*messages: str) -> str:
    """Join messages to one. Their first lines become one line, and the output of other programs follows it."""
    rest = "".join(message.removeprefix(first_line(message)) for message in messages)
    return "; ".join(filter(None, map(first_line, messages))) + rest


class UsageError(EdgeguardError):
    """The command line, an environment's file, or the application's own file can't be used."""

    exit_code = 2


class Locked(EdgeguardError):
    """Somebody else holds the environment's lock, or an unfinished deploy is in the way."""

    exit_code = 3


class Refused(EdgeguardError):
    """Preflight found reasons not to begin. Nothing was touched."""

    exit_code = 4


class EdgeError(EdgeguardError):
    """The edge's API did not do what we asked."""

    exit_code = 5


class EdgeUnauthorized(EdgeError):
    """The token is missing, wrong, expired, or not allowed to do this."""


class EdgeUnavailable(EdgeError):
    """There was no answer, a 5xx, or the calls are throttled. The same call may work later, and may be done already.

    `wait` is how many seconds the edge asks to wait before the next call, if it says so.
    """

    def __init__(self, message: str, remedy: str = "", *, wait: float | None = None) -> None:
        super().__init__(message, remedy)
        self.wait = wait


class EdgeNotDone(EdgeUnavailable):
    """The edge's API was not reached, or it refused for now. Nothing was done."""


class ActiveChanged(EdgeError):
    """Somebody else activated another version of the service meanwhile; nothing of ours is active."""


class ClusterError(EdgeguardError):
    """A server, its gate, or the driver that speaks to them failed. `server` is the name of the server, where it is
    about one; `code` names the class where classes don't reach (another process, another language)."""

    exit_code = 6
    code = "failed"

    def __init__(self, message: str, remedy: str = "", *, server: str | None = None) -> None:
        super().__init__(message, remedy)
        self.server = server


class Fenced(ClusterError):
    """A newer holder of the lock has taken over; this process may do nothing more there."""

    code = "fenced"


class NotClosed(ClusterError):
    """The gate lets requests through, and this is done behind a closed gate only."""

    code = "not-closed"


class NotStaged(ClusterError):
    """The generation is not on the server: it was never staged, or was pruned."""

    code = "not-staged"


class ImageChanged(ClusterError):
    """The image is not as it was built."""

    code = "image-changed"


class Unhealthy(ClusterError):
    """The application does not answer as it has to, keeps dying, or something else runs in its place."""

    code = "unhealthy"


class HookFailed(ClusterError):
    """The deploy hook exited non-zero, or was ended at its limit."""

    code = "hook-failed"


class HookStarted(ClusterError):
    """The hook was started before. It is never started twice unless a person says so."""

    code = "hook-started"


class HookRuns(ClusterError):
    """A hook runs; it goes on by itself."""

    code = "hook-runs"


class HookUnknown(ClusterError):
    """The hook was started, and it is not known how it ended. Only a person can say whether it may start again."""

    code = "hook-unknown"


class OriginsUnhealthy(EdgeguardError):
    """The front door does not answer as a healthy release would."""

    exit_code = 7


class BuildFailed(EdgeguardError):
    """The image could not be built. Nothing was touched."""

    exit_code = 8


class NotConfirmed(EdgeguardError):
    """A write succeeded, but the edge does not show it in time."""

    exit_code = 9


class RolledBack(EdgeguardError):
    """The deploy failed after the close; the previous release is serving again."""

    exit_code = 10


class Held(EdgeguardError):
    """The deploy failed and a person is needed: the cluster is closed, or the grace was left long."""

    exit_code = 11


class CleanupUnfinished(EdgeguardError):
    """The new release serves; something that follows a deploy is left to do."""

    exit_code = 12


class Interrupted(EdgeguardError):
    """SIGINT or SIGTERM came before anything was closed, and the steps that had begun were taken back."""

    exit_code = 130
