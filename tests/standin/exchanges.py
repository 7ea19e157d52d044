"""Recorded exchanges with the real API, repeated with the stand-in: is the answer's status the same, and its shape?

The recordings are those that Fastly's Go client ships for its tests (github.com/fastly/go-fastly, fastly/fixtures), and
the few in recorded.json. Each is repeated by itself, on a new service into which `Replay` has put what the request
needs.

`python -m tests.standin.exchanges` prints the table of docs/standin.md.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import yaml

from edgeguard.standin.problems import Problem
from edgeguard.standin.unimitated import NOT_IMITATED, refuse
from tests.standin.conftest import TOKEN, connect, start, stop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.standin.conftest import Standin

FOLDER = Path(__file__).parent.parent.parent / ".tools" / "goclient.folder"
"""The file in which scripts/tools writes down where the Go client's sources are."""
RECORDED = Path(__file__).with_name("recorded.json")
LATER = {
    *("environments", "ip", "user_agent", "keepalive_time", "prefer_ipv6", "share_key"),
    *(f"tcp_keepalive_{name}" for name in ("enable", "interval", "probes", "time")),
}
"""Keys that some recordings lack: versions, services and backends have got them over the years, and the address of a
token's user is taken out of recorded.json."""


@dataclass(frozen=True)
class Exchange:
    """A request and the answer that it got. `test` names the test that was recorded: its exchanges belong together."""

    test: str
    method: str
    target: str
    headers: dict[str, str]
    body: str
    status: int
    answer: Any

    @property
    def words(self) -> list[str]:
        """The segments of the path."""
        return [unquote(word) for word in urlsplit(self.target).path.strip("/").split("/")]

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body, keep_blank_values=True))

    @property
    def place(self) -> str:
        """The path without names: S is a service's id, N a version's number."""
        words = self.words
        if words[0] != "service" or words[1:2] == ["search"]:
            return "/" + "/".join(words[: 2 if words[0] == "service" else 1])
        of_version = words[2:3] == ["version"]
        general = ["S" if at == 1 else "N" if at == 3 and of_version else word for at, word in enumerate(words)]
        return "/" + "/".join(general[: 5 if of_version else 3])


def shipped() -> Iterator[Exchange]:
    """The exchanges that the Go client ships."""
    root = Path(FOLDER.read_text().strip())
    for file in sorted(root.rglob("fixtures/**/*.yaml")):
        for one in yaml.load(file.read_text(), Loader=yaml.CSafeLoader)["interactions"]:
            asked, told = one["request"], one["response"]
            target = re.sub(r"^https?://[^/]+", "", asked["url"])
            headers = {name: values[0] for name, values in asked["headers"].items() if name != "User-Agent"}
            answer = _parsed(told["body"])
            test = file.relative_to(root).parent.as_posix()
            yield Exchange(test, asked["method"], target, headers, asked["body"], told["code"], answer)


def kept() -> Iterator[Exchange]:
    """The exchanges of recorded.json."""
    for one in json.loads(RECORDED.read_text()):
        asked, told = one["request"], one["response"]
        test = f"recorded/{one['from'].partition('/')[0]}"
        yield Exchange(
            test, asked["method"], asked["path"], asked["headers"], asked["body"], told["status"], told["body"]
        )


def _parsed(body: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(body)
    except ValueError:
        return body


def not_needed(exchange: Exchange) -> str | None:
    """The name in NOT_IMITATED of what this exchange is about, if it is there."""
    try:
        refuse(urlsplit(exchange.target).path)
    except Problem as problem:
        return problem.detail.partition(": ")[2]
    return None


def agree(theirs: Any, ours: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether both have one shape: the same keys and types. Of a list the first counts; null is of any type."""
    if theirs is None or ours is None:
        return True
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return set(ours) - LATER == set(theirs) - LATER and all(
            agree(theirs[key], ours[key]) for key in theirs.keys() & ours.keys()
        )
    if isinstance(theirs, list) and isinstance(ours, list):
        return bool(theirs) <= bool(ours) and (not theirs or not ours or agree(theirs[0], ours[0]))
    return type(theirs) is type(ours)


class Replay:
    """Repeats exchanges with a stand-in."""

    def __init__(self, standin: Standin, all_of_them: Iterable[Exchange]) -> None:
        self._api = standin.api
        self._standin = standin
        self._made: dict[str, list[Exchange]] = defaultdict(list)
        for exchange in all_of_them:
            if exchange.method == "POST":
                self._made[exchange.test].append(exchange)

    def differs(self, exchange: Exchange) -> str | None:
        """Repeat an exchange. Returns how the answer differs from the recorded one, None if it does not."""
        path, body, headers = self._prepared(exchange)
        query = urlsplit(exchange.target).query
        answer = self._api.request(
            exchange.method, f"{path}?{query}" if query else path, content=body, headers=exchange.headers | headers
        )
        if answer.status_code != exchange.status:
            return f"{answer.status_code}, not {exchange.status}: {answer.text}"
        ours = _parsed(answer.text)
        return None if agree(exchange.answer, ours) else f"{ours}, not {exchange.answer}"

    def _prepared(self, exchange: Exchange) -> tuple[str, str, dict[str, str]]:
        """The path, the body and the headers to send, once what they need is there."""
        words, body = exchange.words, exchange.body
        headers: dict[str, str] = {}
        if words[0] == "service" and len(words) > 1:
            kind = "wasm" if "/compute" in exchange.test else "vcl"
            name = dict(parse_qsl(urlsplit(exchange.target).query)).get("name", exchange.test)
            made = self._post("/service", {"name": name, "type": kind})
            if words[1] != "search":
                words[1] = made["id"]
                self._fill(exchange, words)
        elif words[0] == "tokens":
            body, headers = self._tokens(exchange, words)
        elif words[0] == "customer":
            words[1] = self._api.get("/current_user").json()["customer_id"]
        return "/" + "/".join(quote(word, safe="") for word in words), body, headers

    def _tokens(self, exchange: Exchange, words: list[str]) -> tuple[str, dict[str, str]]:
        body = exchange.body
        if exchange.method == "DELETE" and words[-1] == "self":
            self._standin.set("plants", tokens={"deletes itself": {}})
            return body, {"Fastly-Key": "deletes itself"}
        if exchange.method == "DELETE" and len(words) > 1:
            words[1] = self._post("/tokens", {"name": "gone"})["id"]
        elif exchange.method == "DELETE":
            ids = re.findall(r'"id":"(\w+)"', body)
            for old in ids:
                body = body.replace(old, self._post("/tokens", {"name": "gone"})["id"])
        return body, {}

    def _fill(self, exchange: Exchange, words: list[str]) -> None:
        """Put into the new service what the request names, and the new ids into its path."""
        service = f"/service/{words[1]}"
        if words[2:3] == ["version"] and len(words) > 3:
            words[3] = "1"
            self._fill_version(exchange, words, f"{service}/version/1")
        elif words[2:3] == ["dictionary"]:
            words[3] = self._post(f"{service}/version/1/dictionary", {"name": "kept"})["id"]
            self._fill_dictionary(exchange, words, f"{service}/dictionary/{words[3]}")
        elif words[2:3] == ["snippet"]:
            form = {"name": "live", "type": "fetch", "content": "#", "dynamic": "1"}
            words[3] = self._post(f"{service}/version/1/snippet", form)["id"]

    def _fill_version(self, exchange: Exchange, words: list[str], version: str) -> None:
        kind, named = words[4:5], words[5:6]
        if exchange.status == 422:
            self._api.put(f"{version}/lock")
        if exchange.method == "POST" or exchange.status != 200 or not kind or kind[0] in _ACTS:
            return
        path = f"{version}/{kind[0]}"
        forms = [one.form for one in self._made[exchange.test] if one.words[4:] == kind]
        if exchange.method == "GET" and (not named or named == ["check_all"]):
            for form in forms:
                self._post(path, form)
        else:
            by_id = words[6:] == ["info"]
            name = {"name": "kept" if by_id else named[0]}
            made = self._post(path, {"type": "fetch", "content": "#", **(forms[0] if forms else {}), **name})
            words[5] = made["id"] if by_id else words[5]

    def _fill_dictionary(self, exchange: Exchange, words: list[str], dictionary: str) -> None:
        if exchange.method == "PATCH":
            batch = json.loads(exchange.body)["items"]
            keys = [row["item_key"] for row in batch if row["op"] in {"update", "delete"}]
        elif words[4] == "items":
            keys = [row["item_key"] for row in exchange.answer]
        else:
            keys = words[5:] if exchange.status == 200 else []
        for key in keys:
            self._post(f"{dictionary}/item", {"item_key": key, "item_value": "v"})

    def _post(self, path: str, form: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
        answer = self._api.post(path, data=form)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()


_ACTS = {"clone", "lock", "activate", "settings"}


def table(exchanges: Iterable[Exchange]) -> str:
    """How many exchanges there are at each place that is imitated, and of each thing that is not, in Markdown."""
    methods: dict[str, list[str]] = defaultdict(list)
    others = Counter[str]()
    for exchange in exchanges:
        if (name := not_needed(exchange)) is None:
            methods[exchange.place].append(exchange.method)
        else:
            others[name] += 1
    lines = ["| imitated | by | exchanges |", "|---|---|---|"]
    lines += [
        f"| `{place}` | {', '.join(sorted(set(asked)))} | {len(asked)} |" for place, asked in sorted(methods.items())
    ]
    lines += [
        f"| all of these | | {sum(map(len, methods.values()))} |",
        "",
        "| not imitated | exchanges |",
        "|---|---|",
    ]
    lines += [f"| {name} | {others[name]} |" for name in NOT_IMITATED if others[name]]
    return "\n".join([*lines, f"| all of these | {others.total()} |"]) + "\n"


def main() -> None:
    """Print each difference, then the table."""
    found = [*kept(), *shipped()]
    process = start(None, "--token", TOKEN)
    try:
        standin = connect(process)
        with standin.api, standin.edge, standin.control:
            replay = Replay(standin, found)
            for exchange in found:
                if not_needed(exchange) is None and (wrong := replay.differs(exchange)):
                    print(f"{exchange.test}: {exchange.method} {exchange.target}: {wrong}")  # noqa: T201 - a program
    finally:
        stop(process)
    print(table(found))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
