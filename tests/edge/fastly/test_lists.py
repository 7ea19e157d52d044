"""Lists of the API are read to their end, whichever way an API pages them, and within bounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from edgeguard.edge.fastly import lists
from edgeguard.edge.fastly.api import Api
from edgeguard.edge.fastly.by_vcl import ByVcl
from edgeguard.errors import EdgeUnavailable
from edgeguard.site.asking import ask
from tests.edge.standin_edge import TOKEN, StandinEdge
from tests.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler

    Answer = tuple[list[dict[str, Any]], str | None]
    Asked = list[dict[str, list[str]]]

ROWS = [{"number": number} for number in range(1, 251)]
OPERATION = "version.list_service_versions", "list the versions", {"service_id": "s"}


def link(page: int, relation: str, host: str = "api.fastly.com") -> str:
    return f'<https://{host}/service?direction=descend&page={page}&per_page=100&sort=created>; rel="{relation}"'


def named(page: int) -> Answer:
    """Pages of 100 with a Link, as recorded."""
    rows = ROWS[(page - 1) * 100 : page * 100]
    return rows, ", ".join([link(3, "last"), link(page + 1, "next")]) if page < 3 else link(page - 1, "prev")


def full(page: int) -> Answer:
    """Pages of 100 that name no page."""
    return ROWS[(page - 1) * 100 : page * 100], None


def unpaged(_: int) -> Answer:
    """A list that is not paged: 200 rows, again and again."""
    return ROWS[:200], None


def shifting(page: int) -> Answer:
    """Somebody makes a version meanwhile, so that a row is in two pages."""
    rows, said = named(page)
    return (ROWS[(page - 1) * 100 - 1 : page * 100], said) if page == 3 else (rows, said)


def elsewhere(page: int) -> Answer:
    """The next page's address leads to another host."""
    rows, said = named(page)
    return rows, said and said.replace("api.fastly.com", "127.0.0.1:9")


def answered(answer: Callable[[int], Answer], asked: Asked) -> Callable[[BaseHTTPRequestHandler], None]:
    def act(request: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlsplit(request.path).query)
        asked.append(query)
        rows, said = answer(int(query.get("page", ["1"])[0]))
        body = json.dumps(rows).encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        if said:
            request.send_header("Link", said)
        request.end_headers()
        request.wfile.write(body)

    return act


@pytest.mark.parametrize(
    ("answer", "rows", "calls"),
    [(named, 250, 3), (full, 250, 3), (unpaged, 200, 2), (shifting, 250, 3), (elsewhere, 250, 3)],
)
def test_a_list_is_read_to_its_end(answer: Callable[[int], Answer], rows: int, calls: int) -> None:
    asked: Asked = []
    with serving(answered(answer, asked)) as url:
        found = Api(url, TOKEN).listed(*OPERATION)
    assert [row["number"] for row in found] == list(range(1, rows + 1))
    assert [query.get("page", ["-"]) for query in asked] == [["-"], ["2"], ["3"]][:calls]


def circle(page: int) -> Answer:
    return ROWS[:100], link(page + 1, "next")


def backwards(page: int) -> Answer:
    return ROWS[:100], link(page, "next")


def endless(page: int) -> Answer:
    return [{"number": page}], link(page + 1, "next")


def heavy(page: int) -> Answer:
    return [{"number": page, "comment": "x" * (lists.BYTES // 8)}], link(page + 1, "next")


@pytest.mark.parametrize(("answer", "most"), [(circle, 2), (backwards, 1), (endless, lists.PAGES), (heavy, 9)])
def test_a_list_without_an_end_is_given_up(answer: Callable[[int], Answer], most: int) -> None:
    asked: Asked = []
    with serving(answered(answer, asked)) as url, pytest.raises(EdgeUnavailable, match="no end") as caught:
        Api(url, TOKEN).listed(*OPERATION)
    assert caught.value.remedy
    assert len(asked) <= most


def test_a_page_that_fails_is_asked_for_again_not_the_whole_list() -> None:
    asked: Asked = []
    failures = [503, 429]

    def act(request: BaseHTTPRequestHandler) -> None:
        if "page=2" in request.path and failures:
            asked.append(parse_qs(urlsplit(request.path).query))
            request.send_response(failures.pop())
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            answered(named, asked)(request)

    with serving(act) as url:
        found = Api(url, TOKEN, sleep=lambda _: None).listed(*OPERATION)
    assert len(found) == 250
    assert [query.get("page", ["-"])[0] for query in asked] == ["-", "2", "2", "2", "3"]


def test_a_dictionary_is_asked_for_in_pages_of_100(module_standin_edge: StandinEdge) -> None:
    module_standin_edge.reset()
    edge = ByVcl(module_standin_edge.settings, TOKEN, ask)
    edge.install("the tests: a policy is needed")
    many = {f"many-{number}": "x" for number in range(250)}
    edge.write(many)
    assert edge.items().keys() >= many.keys()
    edge.write(dict.fromkeys(many))


def test_yes_is_written_as_the_api_gives_it() -> None:
    """The official client would write True."""
    asked: list[str] = []

    def act(request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        asked.append(f"{request.path} {request.rfile.read(length).decode()}")
        request.send_response(500)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with serving(act) as url:
        api = Api(url, TOKEN)
        for operation, more in (
            ("settings.update_service_settings", {"version_id": 1, "general_stale_if_error": True}),
            ("service.get_service_detail", {"filter_versions_active": True}),
        ):
            with pytest.raises(EdgeUnavailable):
                api.once(operation, "ask", {"service_id": "s", **more})
    assert asked == [
        "/service/s/version/1/settings general.stale_if_error=true",
        "/service/s/details?filter%5Bversions.active%5D=true ",
    ]
