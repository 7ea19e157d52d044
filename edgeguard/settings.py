"""An environment's settings: the file `config/<environment>.toml`, and the variables `EDGEGUARD_…`, which win over it.

Unknown keys are errors, which name the key's path. A duration is written as "90s", "4h", "7d" or a number of seconds,
and is in seconds here. The Fastly token is never in the file, which only names the place where the token is kept.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urljoin, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from edgeguard import patterns, sshkeys, texts
from edgeguard.errors import UsageError
from edgeguard.times import duration
from edgeguard.user import expanded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

SURROGATE_KEY = r"[\x21-\x7e]{1,1024}"
"""The pattern of a surrogate key: keys are separated by spaces, and have at most 1 KB (Fastly:
reference/vcl/…/constraints)."""

Mechanism = Literal["vcl", "settings"]
"""The mechanism that gives the grace: the policy, or the service's own stale-if-error."""

_PREFIX = "EDGEGUARD_"
_LARGEST_TOKEN = 4096  # bytes
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


_ETERNITY = 10**10  # seconds; every use of a duration can hold less


def seconds(value: object) -> float:
    """Seconds from "90s", "5m", "4h", "7d" or a number.

    Raises:
        ValueError: the value is none of these, negative, or infinite.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value < _ETERNITY:
            raise ValueError("a duration is not negative, and less than 300 years")
        return float(value)
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)\s*", str(value))
    if found is None:
        raise ValueError(f"{value!r} is not a duration; write 90s, 5m, 4h or 7d")
    return seconds(float(found[1]) * _UNITS[found[2] or "s"])


Seconds = Annotated[float, BeforeValidator(seconds)]
WholeSeconds = Annotated[int, BeforeValidator(lambda value: int(seconds(value)))]


class Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Elsewhere(Table):
    """The place of a value that is not in the file: a variable of edgeguard's own environment, or a private file."""

    from_env: str | None = None
    file: Path | None = None


def _value(said: object) -> str | Elsewhere:
    """A value, or its place. The errors show nothing of it."""
    if isinstance(said, str | Elsewhere):
        return said
    if isinstance(said, dict) and len(said) == 1:
        [(key, place)] = said.items()
        if key == "from_env" and isinstance(place, str) and re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", place):
            return Elsewhere(from_env=place)
        if key == "file" and isinstance(place, str) and place and "\0" not in place:
            return Elsewhere(file=Path(place))
    raise ValueError('write a text in quotes, or { from_env = "NAME" }, or { file = "PATH" }')


Value = Annotated[str | Elsewhere, BeforeValidator(_value)]
"""A value that is a secret, or the place where it is."""


class ApplicationSettings(Table):
    """The application: its repository, its build, and its variables. `name` chooses one of several."""

    repository: str
    branch: str
    name: str | None = None
    ignore: tuple[str, ...] = ()
    variables: dict[str, Value] = Field(default_factory=dict, repr=False)
    relationships: dict[str, Value] = Field(default_factory=dict, repr=False)
    build_environment: tuple[str, ...] = ()
    build_network: bool = True
    build_timeout: Seconds = 1800


class UserSettings(Table):
    """A person who may log in on the servers: with these public keys, to a shell of the application's user."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    keys: tuple[Annotated[str, AfterValidator(sshkeys.checked)], ...] = Field(min_length=1)
    role: Literal["ssh"] = "ssh"


def _all_different(users: tuple[UserSettings, ...]) -> tuple[UserSettings, ...]:
    names = [user.name for user in users]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{min(twice)} is named twice")
    owners: dict[str, str] = {}
    for user in users:
        for key in user.keys:
            owner = owners.setdefault(sshkeys.content(key), user.name)
            if owner != user.name:
                raise ValueError(f"{owner} and {user.name} have the same key")
        if len(set(map(sshkeys.content, user.keys))) != len(user.keys):
            raise ValueError(f"{user.name} has the same key twice")
    return users


Users = Annotated[tuple[UserSettings, ...], AfterValidator(_all_different)]
"""People who may log in, each once, and no key twice."""


class UsersFile(Table):
    """The file that `cluster.users_file` names."""

    users: Users


class ClusterSettings(Table):
    """The servers, their gate, and the options of their driver."""

    driver: str = "local"
    servers: tuple[str, ...] = ("web1", "web2", "web3")
    root: Path
    user: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?$")
    hook_server: str | None = None
    cron_server: str | None = None
    after_hook_failure: Literal["stay-closed", "rollback"] = "stay-closed"
    hook_timeout: Seconds = 3600
    drain_timeout: Seconds = 10
    start_timeout: Seconds = 60
    planned_closure: Seconds = 300
    lease: Seconds = Field(default=15, gt=0)
    keep_releases: int = Field(default=5, ge=2)
    keep_reports: int = Field(default=100, ge=1)
    keep_hook_logs: int = Field(default=20, ge=5)
    keep_history: int = Field(default=50, ge=5)
    health_path: str = "/"
    closed_status: Literal[500, 503] = 500
    retry_after: WholeSeconds = 30
    edge_check_path: str | None = None
    users: Users = ()
    users_file: Path | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    def hook_on(self, servers: Sequence[str]) -> str:
        """The one of these servers on which hooks run: `hook_server`, or the first if that one is not among them."""
        return self.hook_server if self.hook_server is not None and self.hook_server in servers else servers[0]

    def crons_on(self, servers: Sequence[str]) -> str:
        """The one of these servers on which crons run: `cron_server`, or else the one on which hooks run."""
        wanted = self.cron_server
        return wanted if wanted is not None and wanted in servers else self.hook_on(servers)

    @model_validator(mode="after")
    def _consistent(self) -> ClusterSettings:
        if not self.servers or len(set(self.servers)) != len(self.servers):
            raise ValueError("servers: name at least one, each once")
        for name in self.servers:
            if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,62}", name):
                raise ValueError(f"servers: {name!r} is not a server's name (lower-case letters, digits, - and .)")
        for key, server in (("hook_server", self.hook_server), ("cron_server", self.cron_server)):
            if server is not None and server not in self.servers:
                raise ValueError(f"{key}: {server!r} is not one of the servers")
        return self


class EdgeSettings(Table):
    """The Fastly service in front, and the grace that it may give."""

    service: str
    url: str
    health_url: str
    api_url: str = "https://api.fastly.com"
    token_file: Path | None = None
    mechanism: Mechanism = "vcl"
    dictionary: str = Field(default="edgeguard", pattern=r"^[a-z][a-z0-9_]*$")
    status_name: str = Field(default="edgeguard-status", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    base_grace: WholeSeconds = 3600
    ceiling: WholeSeconds = 7 * 86_400
    respect_must_revalidate: bool = False
    authenticate_purges: bool = True
    closed_page: Path | None = None
    propagation: Seconds = 30
    confirm_timeout: Seconds = 60
    release_header: str | None = None
    healthy_rounds: int = Field(default=3, ge=1)
    healthy_for: Seconds = 5
    healthy_timeout: Seconds = 60

    @model_validator(mode="after")
    def _consistent(self) -> EdgeSettings:
        if not 0 < self.base_grace <= self.ceiling <= 30 * 86_400:
            raise ValueError("base_grace and ceiling: 0 < base_grace <= ceiling <= 30d is needed")
        for name, address in (("url", self.url), ("health_url", self.health_url), ("api_url", self.api_url)):
            if (address or name == "api_url") and not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", address):
                raise ValueError(f"{name}: this is no address; write https://www.example.com/")
        if self.url and not re.fullmatch(r"https?://[^/?#]+/?", self.url):
            raise ValueError("url: this is more than a site's address; write https://www.example.com")
        return self

    def address(self, page: str) -> str:
        """The complete address of a page that is named by its path. A complete address stays as it is."""
        return urljoin(self.url, page)


class ClaimSettings(Table):
    """The lengths of a deploy's claims on the grace, and the rule for support's reasons."""

    duration: WholeSeconds = 4 * 3600
    hold: WholeSeconds = Field(default=120, le=1800)
    reason_required: bool = False
    held: WholeSeconds = 24 * 3600


class PurgeRule(Table):
    """The surrogate keys that a deploy purges when a file of the application has changed."""

    path: str
    keys: tuple[str, ...]

    @model_validator(mode="after")
    def _consistent(self) -> PurgeRule:
        known = set(patterns.compiled(self.path).groupindex)
        for key in self.keys:
            if unknown := patterns.words(key) - known:
                raise ValueError(f"keys: {key!r} takes {{{min(unknown)}}}, which {self.path!r} does not keep")
            if not re.fullmatch(SURROGATE_KEY, key):
                raise ValueError(f"keys: {key!r} is not a surrogate key (1 to 1024 visible ASCII characters)")
        return self


class PurgeSettings(Table):
    """The pages that a deploy purges, softly, when the new release is healthy; and the pace of every purge."""

    release_key: str | None = Field(default=None, pattern=f"^{SURROGATE_KEY}$")
    default: Literal["paced", "none"] = "paced"
    rules: tuple[PurgeRule, ...] = ()
    pace: Seconds = 1
    second_pass: Seconds | None = None
    patience: Seconds = 120


class VisitorsSettings(Table):
    """The sampling during a deploy: these pages are requested at a steady rate, as visitors would."""

    anonymous: tuple[str, ...] = ()
    authenticated: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    cookie: str = "session=edgeguard"
    rate: float = Field(default=5.0, gt=0, le=1000)
    timeout: Seconds = 10


class DoctorSettings(Table):
    """The pages that `doctor` and preflight look at, besides those of anonymous visitors."""

    urls: tuple[str, ...] = ()
    sitemap: str | None = None
    pages: int = Field(default=50, ge=1, le=10_000)
    rate: float = Field(default=10.0, gt=0, le=1000)
    origin: str | None = None


class EdgeOnlySettings(Table):
    """One environment for commands that need the edge alone. The application and the cluster may be missing.

    No address in it has a user or a password: these are in `passwords` alone, as a request needs them.
    """

    application: ApplicationSettings | None = None
    cluster: ClusterSettings | None = None
    edge: EdgeSettings
    claim: ClaimSettings = ClaimSettings()
    purge: PurgeSettings = PurgeSettings()
    visitors: VisitorsSettings = VisitorsSettings()
    doctor: DoctorSettings = DoctorSettings()
    _passwords: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def passwords(self) -> dict[str, str]:
        """`user:password`, as it stood in an address, by the site that wants it: `https://www.example.com`."""
        return self._passwords

    @model_validator(mode="wrap")
    @classmethod
    def _signed_out(cls, content: Any, make: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 (as it comes)
        passwords: dict[str, str] = {}
        if isinstance(content, dict):
            sites = {name: _without_passwords(content[name], passwords) for name in _SITES if name in content}
            content = {**content, **sites}
        made = make(content)
        made._passwords = passwords  # noqa: SLF001 (its own)
        return made

    @model_validator(mode="after")
    def _agree(self) -> EdgeOnlySettings:
        # The edge ignores a claim that ends later than the ceiling and a day from now.
        longest = max(self.edge.ceiling, 86_400)
        for name in ("duration", "held"):
            if getattr(self.claim, name) > longest:
                raise ValueError(
                    f"claim.{name}: no claim lasts longer than edge.ceiling, or a day: {duration(longest)}"
                )
        green = self.cluster and self.cluster.edge_check_path
        if green and green == urlsplit(self.edge.health_url).path:
            raise ValueError(
                f"cluster.edge_check_path: {green} is the page of edge.health_url, which has to fail while it is closed"
            )
        return self


class Settings(EdgeOnlySettings):
    """One environment, whole."""

    application: ApplicationSettings
    cluster: ClusterSettings


_SITES = ("edge", "visitors", "doctor")
"""The tables whose addresses may have a user and a password, for sites behind Basic authentication."""

_USERINFO = re.compile(r"(https?://)([^/?#\s]*)@([^/?#\s@]*)", re.IGNORECASE)


def _without_passwords(content: object, passwords: dict[str, str]) -> object:
    """The same without users and passwords in addresses. They are added to `passwords`.

    Raises:
        ValueError: one is in the API's address, or one site has two.
    """
    if isinstance(content, dict):
        if isinstance(api := content.get("api_url"), str) and _USERINFO.match(api):
            raise ValueError("edge.api_url has a user or a password in it, and Fastly's API knows none; leave it out")
        return {key: _without_passwords(value, passwords) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_passwords(value, passwords) for value in content]
    if not isinstance(content, str) or not (found := _USERINFO.match(content)):
        return content
    site = f"{found[1]}{found[3]}".lower()
    if passwords.setdefault(site, found[2]) != found[2]:
        raise ValueError(f"{site} has two users or passwords in different addresses; give it the same in all")
    return site + content[found.end() :]


_Settings = TypeVar("_Settings", bound=EdgeOnlySettings)


def load(name: str, folder: Path) -> Settings:
    """The settings of the environment `name`, from `folder/<name>.toml`. `edge.closed_page` is relative to `folder`.

    Raises:
        UsageError: there is no such file, it is not TOML, or it has unknown keys or unusable values (all are named).
    """
    return _load(name, folder, Settings)


def load_edge_only(name: str, folder: Path) -> EdgeOnlySettings:
    """As `load`, for commands that need no [cluster] and no [application] in the file."""
    return _load(name, folder, EdgeOnlySettings)


def _load(name: str, folder: Path, kind: type[_Settings]) -> _Settings:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise UsageError(f"{name!r} is not an environment's name", "Names are lower-case letters, digits, - and _.")
    path = folder / f"{name}.toml"
    try:
        content = texts.toml(path)
    except FileNotFoundError as exc:
        there = ", ".join(sorted(file.stem for file in folder.glob("*.toml"))) or "none"
        raise UsageError(
            f"there is no environment {name!r}: {path} does not exist",
            f"Environments in {folder}: {there}. Another folder is named by --config or EDGEGUARD_CONFIG.",
        ) from exc
    except (OSError, ValueError) as exc:
        raise UsageError(f"{path} can't be read: {exc}", "Mend the file; it is TOML.") from exc
    settings = _beside(_checked(kind, content, str(path)), folder)
    if settings.cluster is None:
        return settings
    return settings.model_copy(update={"cluster": _with_users(settings.cluster, folder, path)})


def _with_users(cluster: ClusterSettings, folder: Path, source: Path) -> ClusterSettings:
    """The settings of a cluster with the users of `users_file`.

    Raises:
        UsageError: it can't be used, there are users in both places, or nobody could log in on these servers.
    """
    if cluster.users_file is not None:
        path = _in(folder, expanded(cluster.users_file, "cluster.users_file"))
        if cluster.users:
            raise UsageError(f"{source} has users, and names {path} for them, too", "Name them in one place.")
        try:
            users = UsersFile(**texts.toml(path)).users
        except ValidationError as exc:
            raise UsageError(f"cluster.users_file: {path} can't be used: {explain(exc)}", "Mend the file.") from exc
        except (OSError, ValueError) as exc:
            raise UsageError(f"cluster.users_file: {path} can't be read: {exc}", "Mend the file; it is TOML.") from exc
        cluster = cluster.model_copy(update={"users": users})
    if cluster.users and cluster.driver == "ssh" and cluster.user is None:
        raise UsageError(
            f"{source} has users, who log in as cluster.user, and there is none",
            "Let cluster.user name the unprivileged user as whom the application runs.",
        )
    return cluster


def for_service(service: str, **found: Any) -> EdgeOnlySettings:  # noqa: ANN401 (as in a file)
    """The settings of a service without a file. `found` are the keys of its [edge]. Variables win, as over a file.

    Raises:
        UsageError: this can't be a service's id, or a variable can't be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9]{1,64}", service):
        raise UsageError(f"{service!r} is not the id of a Fastly service", "It has letters and digits only.")
    edge = {"url": "", "health_url": "", **found, "service": service}
    settings = _checked(EdgeOnlySettings, {"edge": edge}, f"service {service}")
    if settings.edge.service != service:
        raise UsageError("EDGEGUARD_EDGE__SERVICE names another service", "Unset it, or name that service.")
    return settings


def _checked(kind: type[_Settings], content: dict[str, Any], source: str) -> _Settings:
    """The settings from a file's content and from variables. Errors name `source`.

    Variables for a part that the file doesn't have, and that these settings need not have, count if they give all of
    it: they may be meant for another environment.
    """
    named = _named(kind)
    spare = {table for table in kind.model_fields.keys() - content.keys() if kind.model_fields[table].default is None}
    try:
        variables = {**_whole(kind, spare & named.keys(), named), **_variables(kind, named.keys() - spare, named)}
        return kind(**_merged(content, variables))
    except ValidationError as exc:
        raise UsageError(f"{source} can't be used: {explain(exc)}", "Mend the file or the variable.") from exc


def _named(kind: type[_Settings]) -> dict[str, list[str]]:
    """The tables that environment variables EDGEGUARD_<table>__<key> give something of, each with these variables."""
    found: dict[str, list[str]] = {}
    for name in sorted(name.upper() for name in os.environ if name.upper().startswith(_PREFIX)):
        table = name.removeprefix(_PREFIX).partition("__")[0].lower()
        if table in kind.model_fields:
            found.setdefault(table, []).append(name)
        elif "__" in name:  # others are not settings
            raise UsageError(f"{name}: unknown key", f"Settings are in {', '.join(kind.model_fields)}.")
    return found


def _whole(kind: type[_Settings], tables: Iterable[str], named: Mapping[str, list[str]]) -> dict[str, Any]:
    """Those of these tables that environment variables give whole."""
    found: dict[str, Any] = {}
    for table in tables:
        with suppress(UsageError, ValidationError):
            said = _variables(kind, [table], named)
            TypeAdapter[Any](kind.model_fields[table].annotation or object).validate_python(said[table])
            found |= said
    return found


def _variables(kind: type[_Settings], tables: Collection[str], named: Mapping[str, list[str]]) -> dict[str, Any]:
    """The content that environment variables give these tables."""
    if not tables:
        return {}
    # This import is slow, and mostly there are no such variables: a check that runs each minute does without it.
    from pydantic_settings import EnvSettingsSource, SettingsError  # noqa: PLC0415

    # The source only reads the class's fields, so any model will do.
    source = EnvSettingsSource(kind, env_prefix=_PREFIX, env_nested_delimiter="__")  # type: ignore[arg-type]
    ours = {name.lower() for table in tables for name in named[table]}
    source.env_vars = {name: value for name, value in source.env_vars.items() if name in ours}
    try:
        return source()
    except SettingsError as exc:  # it names the variable's table only
        said = " or ".join(next((named[table] for table in tables if f'"{table}"' in str(exc)), []))
        raise UsageError(
            f"{said} can't be read", "In a variable a list or a table is JSON, such as '[\"web1\"]'."
        ) from exc


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Both, table by table. `upper` wins if both have a key."""
    both = dict(lower)
    for key, value in upper.items():
        there = both.get(key)
        both[key] = _merged(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return both


def _beside(settings: _Settings, folder: Path) -> _Settings:
    """The settings with `edge.closed_page`, and the files of values, as paths in the folder of the environment's
    file."""
    application, page = settings.application, settings.edge.closed_page
    changed: dict[str, Any] = {}
    if page is not None:
        changed["edge"] = settings.edge.model_copy(update={"closed_page": _in(folder, page)})
    if application is not None:
        tables = {
            key: {name: _value_beside(value, folder) for name, value in getattr(application, key).items()}
            for key in ("variables", "relationships")
        }
        changed["application"] = application.model_copy(update=tables)
    return settings.model_copy(update=changed)


def _value_beside(value: str | Elsewhere, folder: Path) -> str | Elsewhere:
    if isinstance(value, str) or value.file is None:
        return value
    return Elsewhere(file=_in(folder, value.file))


def _in(folder: Path, path: Path) -> Path:
    return path if str(path).startswith("~") else folder / path


def explain(error: ValidationError) -> str:
    """Each fault as `path: what is wrong`. Values are left out: one of them may be a secret."""
    faults = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        path = ".".join(str(part) for part in fault["loc"]) or "the file"
        said = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
        faults.append(f"{path}: {said}")
    return "; ".join(faults)


def token(settings: EdgeSettings) -> str:
    """The Fastly API token, from FASTLY_API_TOKEN, FASTLY_KEY, or the file that `edge.token_file` names.

    Raises:
        UsageError: there is no token, it can't be one, or others can read its file.
    """
    for variable in ("FASTLY_API_TOKEN", "FASTLY_KEY"):
        if value := os.environ.get(variable, "").removeprefix(texts.MARK).strip():
            return _one_word(value, variable)
    remedy = "Set FASTLY_API_TOKEN, or let edge.token_file name a file with the token that only you can read."
    if settings.token_file is None:
        raise UsageError("there is no Fastly token", remedy)
    path = expanded(settings.token_file, "edge.token_file")
    try:
        value = texts.decoded(private(path, "edge.token_file", most=_LARGEST_TOKEN)).strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"edge.token_file: {path} can't be read: {exc}", remedy) from exc
    if not value:
        raise UsageError(f"edge.token_file: {path} is empty", remedy)
    return _one_word(value, f"edge.token_file: {path}")


def private(path: Path, named: str, *, most: int) -> bytes:
    """The content of a file that nobody else can read, or put another file in the place of. `named` is the setting that
    names it.

    Raises:
        UsageError: others can, or it is no file, or has more than `most` bytes.
        OSError: it can't be read.
    """
    for folder in {path.parent, path.resolve().parent}:
        status = folder.stat()
        # In a folder with the sticky bit, such as /tmp, others can't replace a file that is not theirs.
        if status.st_uid not in (0, os.geteuid()) or (status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX):
            raise UsageError(f"{named}: others can write in {folder}", f"chmod go-w {folder}, and own it.")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe would be waited for
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise UsageError(f"{named}: {path} is no file, or has more than {most} bytes", "Name a file that fits.")
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise UsageError(f"{named}: {path} can be read by others", f"chmod 600 {path}, and own it.")
        return file.read(most)


def _one_word(value: str, source: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):  # it goes into a header
        raise UsageError(f"{source}: this is no token", "A token is one word of letters, digits, - and _.")
    return value
