"""Fastly's API, one call at a time. Only this module imports the official client and urllib3.

The official client has no time-out, repeats some calls by itself, lets urllib3's errors through, checks answers against
outdated types, and fails on error bodies that are not UTF-8. So this module reads the raw answer in its place, and
bounds every call. A wait for the API ends soon after a signal, if a `Stop` listens (Interrupted): the call may have
been done then. Foreign errors become ours, and so do answers of another shape than in `answers`. A call is repeated
if it surely was not done, or if it may be done twice. The client is imported at the first call (90 ms).
"""

from __future__ import annotations

import importlib
import io
import json
import random
import re
import threading
import time
from contextlib import closing, contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from edgeguard.cluster.host import strict_json
from edgeguard.edge.fastly import lists
from edgeguard.edge.fastly.answers import SHAPES, flaw
from edgeguard.errors import EdgeError, EdgeNotDone, EdgeUnauthorized, EdgeUnavailable
from edgeguard.machine import network
from edgeguard.machine.in_time import in_time
from edgeguard.machine.signals import pause
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from urllib.parse import SplitResult

    import tenacity
    import urllib3.connection

    from edgeguard.machine.in_time import Line

_Result = TypeVar("_Result")

TIMEOUTS = 5.0, 15.0
"""Seconds for connecting, and for each wait for more of an answer."""
LONGEST = 60.0
"""Seconds for one attempt altogether, however its answer comes."""
BYTES = 16 * 2**20
"""The most bytes of an answer, unpacked. A full dictionary has about 8 MB."""
ATTEMPTS = 4
PATIENCE = 20.0
"""Seconds after which no attempt begins. So this is also the longest wait for a throttled call."""
FIRST_PAUSE = 0.2
_REMEDY = "Try again later; if it lasts, look at edge.api_url and at fastlystatus.com."
_POLL = 0.02
_SAID = 500
"""The most characters of an answer that an error quotes."""


class Missing(EdgeError):
    """404: a thing that the call names does not exist."""


class Throttled(EdgeNotDone):
    """429: refused for now, and surely not done."""


class Api:
    """Fastly's API. Threads may share it: calls wait for each other, as the API can't take concurrent changes."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        sleep: Callable[[float], None] = pause,
        timeouts: tuple[float, float] = TIMEOUTS,
        longest: float = LONGEST,
    ) -> None:
        if not re.fullmatch(r"[\x21-\x7e]+", token):  # else it would be quoted in full by the error about the header
            raise EdgeUnauthorized(
                "the Fastly token holds characters that no token has", "Set FASTLY_API_TOKEN to the token alone."
            )
        self._url = url.rstrip("/")
        self._token = token
        self._sleep = sleep
        self._timeouts = timeouts
        self._longest = longest
        self._lock = threading.Lock()
        self._query: Mapping[str, str] = {}  # of the page of a list that is asked for

    def call(self, operation: str, doing: str, arguments: Mapping[str, object], *, repeat: bool = False) -> Any:  # noqa: ANN401 - JSON is of any type
        """Call `module.method` of the client. Returns the answer's JSON, which has the shape of SHAPES.

        Errors say "could not" and `doing`. A call that surely was not done is tried again; with `repeat`, also a call
        that may have been done. There are at most ATTEMPTS attempts in PATIENCE seconds.

        Raises:
            EdgeUnauthorized, EdgeUnavailable, Missing, EdgeError: as they say. None of them shows the token.
        """
        again = EdgeUnavailable if repeat else EdgeNotDone
        return self._retried(lambda: self.once(operation, doing, arguments), again)

    def once(self, operation: str, doing: str, arguments: Mapping[str, object]) -> Any:  # noqa: ANN401 - as above
        """As `call`, but without repetition: for acts that `repeated` repeats as a whole."""
        return self._once(operation, doing, arguments, {})[0]

    def listed(
        self,
        operation: str,
        doing: str,
        arguments: Mapping[str, object],
        *,
        first: Mapping[str, str] | None = None,
        repeat: bool = True,
    ) -> list[dict[str, Any]]:
        """All rows of a list, from all its pages, each once. With `repeat`, each page is asked for as in `call`.

        `first` is the query of the first page, for lists that Fastly's other clients ask for page by page.

        Raises:
            As `call`; EdgeUnavailable also where the list has no end within the bounds of `lists`.
        """

        def ask(query: Mapping[str, str]) -> lists.Page:
            errors = (EdgeUnavailable,) if repeat else ()
            return lists.Page(*self._retried(lambda: self._once(operation, doing, arguments, query), *errors))

        return lists.read(ask, doing, first or {})

    def _once(
        self, operation: str, doing: str, arguments: Mapping[str, object], query: Mapping[str, str]
    ) -> tuple[Any, str, int]:
        """One call, with this query beside its arguments. Returns the JSON, the header Link, and the size in bytes."""
        with self._turn(), self._border(doing):
            module, method = operation.split(".")
            name = "".join(word.title() for word in module.split("_")) + "Api"
            api = getattr(importlib.import_module(f"fastly.api.{module}_api"), name)(self._client)
            ask = partial(getattr(api, method), **arguments, _request_timeout=self._timeouts, _preload_content=False)
            self._query = query
            said = in_time(lambda _: ask(), self._longest)
            answer = strict_json.read(said.data, most=BYTES)
        if wrong := flaw(SHAPES[operation], answer):
            raise EdgeUnavailable(f"could not {doing}: the answer is not of the known shape ({wrong})", _REMEDY)
        return answer, str(said.headers.get("Link") or ""), len(said.data)

    def post(self, target: str, doing: str, headers: Mapping[str, str], *, repeat: bool = False) -> Any:  # noqa: ANN401 - as above
        """POST to exactly this path and query. Returns the answer's JSON. Repetition and errors are as in `call`.

        This is for addresses of pages, which the client (and urllib3 below it) would rewrite. It makes %C3 of %c3,
        which is another page for a cache, and an address with /../ would become another call of the API.
        """
        return self._retried(lambda: self._post(target, doing, headers), EdgeUnavailable if repeat else EdgeNotDone)

    def _post(self, target: str, doing: str, headers: Mapping[str, str]) -> Any:  # noqa: ANN401 - as above
        address, (to_connect, to_read) = urlsplit(self._url), self._timeouts
        sent = {"Fastly-Key": self._token, "Accept": "application/json", **headers}
        place = address.path + target

        def ask(line: Line) -> urllib3.BaseHTTPResponse:
            with closing(self._connection(address, to_connect)) as connection:
                connection.connect()
                line.is_at(connection.sock)
                connection.timeout = to_read  # from the request on
                connection.request("POST", place, headers=sent, preload_content=False)
                return _bounded(connection.getresponse())

        with self._turn(), self._border(doing):
            if address.scheme == "http" and (proxy := network.proxy(self._url)) is not None:
                place, sent = f"http://{address.netloc}{place}", {**sent, **network.password(urlsplit(proxy))}
            answer = in_time(ask, self._longest)
            if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                raise self._refusal(doing, answer.status, answer.headers, answer.data)
            return strict_json.read(answer.data, most=BYTES)

    def _connection(self, address: SplitResult, timeout: float) -> urllib3.connection.HTTPConnection:
        """A connection to the API, through the proxy that this machine's environment names, if it names one."""
        from urllib3 import connection as urllib3  # noqa: PLC0415 (heavy: 36 ms)

        proxy = network.proxy(self._url)
        there = address if proxy is None else urlsplit(proxy)
        if address.scheme != "https":  # a stand-in's
            return urllib3.HTTPConnection(str(there.hostname), there.port, timeout=timeout)
        trusted = network.authorities()
        if proxy is None:
            return urllib3.HTTPSConnection(str(there.hostname), there.port, timeout=timeout, ssl_context=trusted)
        connection = urllib3.HTTPSConnection(
            str(there.hostname), there.port or 80, timeout=timeout, ssl_context=trusted
        )
        connection.set_tunnel(str(address.hostname), address.port or 443, network.password(there))
        return connection

    def change_items(self, arguments: Mapping[str, object], operations: Sequence[Mapping[str, str]]) -> None:
        """Change a dictionary's items in one call, without repetition."""
        items = "fastly.model.bulk_update_dictionary_item", "BulkUpdateDictionaryItem"
        request = "fastly.model.bulk_update_dictionary_list_request", "BulkUpdateDictionaryListRequest"
        item_type, request_type = (getattr(importlib.import_module(module), name) for module, name in (items, request))
        batch = request_type(items=[item_type(**operation) for operation in operations])
        doing = "write to the dictionary"
        named = {**arguments, "bulk_update_dictionary_list_request": batch}
        self.once("dictionary_item.bulk_update_dictionary_item", doing, named)

    def repeated(self, act: Callable[[], _Result], *, also: tuple[type[EdgeError], ...] = ()) -> _Result:
        """Do an act, and again within the bounds if it fails for a reason that may pass, or with an error in `also`."""
        return self._retried(act, EdgeUnavailable, *also)

    def _retried(self, act: Callable[[], _Result], *errors: type[EdgeError]) -> _Result:
        import tenacity  # noqa: PLC0415 (heavy: 35 ms)

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(errors),
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(PATIENCE),
            wait=_pause,
            sleep=self._sleep,
            reraise=True,
        )
        return attempts(act)

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - the official client has no types
        import fastly  # noqa: PLC0415 (heavy: 90 ms)

        configuration = fastly.Configuration(host=self._url)
        configuration.retries = False
        configuration.api_token = self._token
        configuration.proxy = network.proxy(self._url)
        if configuration.proxy is not None:
            configuration.proxy_headers = network.password(urlsplit(configuration.proxy))
        client = fastly.ApiClient(configuration)
        pool = client.rest_client.pool_manager
        if self._url.startswith("https:"):
            pool.connection_pool_kw["ssl_context"] = network.authorities()
        ask = pool.request

        def request(method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:  # noqa: ANN401 - urllib3's
            if "fields" in options:
                options["fields"] = _fields(options["fields"]) + list(self._query.items())
            return _bounded(ask(method, url, **options, redirect=False))

        pool.request = request
        return client

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other call is under way, and let none begin. Raises Interrupted, as any wait for the API."""
        while not self._lock.acquire(timeout=_POLL):
            pause(0)
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _border(self, doing: str) -> Iterator[None]:
        """Make our errors of the client's and urllib3's."""
        import fastly.exceptions  # noqa: PLC0415 (heavy: 90 ms)
        import urllib3.connection  # noqa: PLC0415
        import urllib3.exceptions  # noqa: PLC0415

        try:
            yield
        except fastly.exceptions.ApiException as exc:
            raise self._from_client(doing, exc) from exc
        except urllib3.exceptions.HTTPError as exc:
            unreached = isinstance(exc, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError))
            said = f"could not {doing}: Fastly's API gives no answer ({self._shown(str(exc) or type(exc).__name__)})"
            raise (EdgeNotDone if unreached else EdgeUnavailable)(said, _REMEDY) from exc
        except (OSError, urllib3.connection.HTTPException) as exc:  # of `post`, and beyond the bounds
            said = f"could not {doing}: Fastly's API gives no answer ({self._shown(str(exc) or type(exc).__name__)})"
            raise EdgeUnavailable(said, _REMEDY) from exc
        except (AttributeError, ValueError, RecursionError) as exc:
            # The client stumbles over its own error where that has no body (TLS) or one that is not UTF-8.
            cause = exc.__context__
            if isinstance(cause, fastly.exceptions.ApiException):
                raise self._from_client(doing, cause) from exc
            if isinstance(exc, AttributeError):
                raise
            said = f"could not {doing}: the answer is not JSON ({type(exc).__name__})"
            raise EdgeUnavailable(said, _REMEDY) from exc

    def _from_client(self, doing: str, exc: Any) -> EdgeError:  # noqa: ANN401 - the client's ApiException has no types
        """Our error for an ApiException of the client. The client gives a failure of TLS the status 0."""
        if not exc.status:
            # TLS may also have failed after the request was sent, so the call may have been done.
            return EdgeUnavailable(f"could not {doing}: no TLS ({self._shown(str(exc.reason))})", _REMEDY)
        return self._refusal(doing, int(exc.status), exc.headers or {}, exc.body)

    def _refusal(self, doing: str, status: int, headers: Mapping[str, str], body: str | bytes) -> EdgeError:
        """Our error for an answer that isn't 2xx."""
        said = f"could not {doing}: {status} {self._shown(_said(body))[:_SAID]}".rstrip()
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return EdgeUnauthorized(
                said, "Check FASTLY_API_TOKEN: it needs the scope global for this service, and may have expired."
            )
        if status == HTTPStatus.NOT_FOUND:
            return Missing(said, "Check edge.service, and that the token may see that service.")
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait = _wait(headers, throttled=status == HTTPStatus.TOO_MANY_REQUESTS)
            when = "later" if wait is None else f"in {duration(wait)}"
            remedy = f"Try again {when}; fastlystatus.com shows incidents."
            return (Throttled if status == HTTPStatus.TOO_MANY_REQUESTS else EdgeUnavailable)(said, remedy, wait=wait)
        return EdgeError(said, "If this is not clear, look at the service in Fastly's own control panel.")

    def _shown(self, text: str) -> str:
        """The text on one line, without the token."""
        return " ".join(text.replace(self._token, "(the token)").split())


def _fields(given: Sequence[tuple[str, object]] | Mapping[str, object] | None) -> list[tuple[str, object]]:
    """The fields of a query or a form. The client would write True, and Fastly takes and gives `true`: as a header's
    field, True was once silently taken for 0 (github.com/fastly/go-fastly, issue 17)."""
    pairs = dict(given or {}).items()
    return [(name, json.dumps(value) if isinstance(value, bool) else value) for name, value in pairs]


class _TooLong(OSError):
    """An answer has more than BYTES."""


def _bounded(answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
    """The answer with its content, which is read here. Raises _TooLong, and urllib3's errors."""
    import urllib3  # noqa: PLC0415 (heavy: 36 ms)

    content = answer.read(BYTES + 1, decode_content=True)
    if len(content) > BYTES:
        answer.close()
        raise _TooLong(f"more than {BYTES} bytes")
    headers, status, reason = answer.headers, answer.status, answer.reason
    return urllib3.HTTPResponse(io.BytesIO(content), headers, status, reason=reason, decode_content=False)


def _said(body: str | bytes) -> str:
    """The message in an error's body."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        content = strict_json.read_object(text)
    except strict_json.Fault:
        return text
    return ": ".join(str(content[key]) for key in ("msg", "title", "detail") if content.get(key)) or text


def _wait(headers: Mapping[str, str], *, throttled: bool) -> float | None:
    """For how many seconds an answer asks to wait. None: it does not ask.

    That is Retry-After (seconds or a date). Without it, a throttled call waits for the rate limit's reset (Unix time).
    """
    after, reset = headers.get("Retry-After", ""), headers.get("Fastly-RateLimit-Reset", "")
    if re.fullmatch("[0-9]{1,9}", after):
        return float(after)
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    if throttled and re.fullmatch("[0-9]{1,12}", reset) and headers.get("Fastly-RateLimit-Remaining", "0") == "0":
        return max(0.0, float(reset) - time.time())
    return None


def _pause(state: tenacity.RetryCallState) -> float:
    """The pause before the next attempt: as long as the answer asked for, else twice as long each time, with jitter."""
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, EdgeUnavailable) and failure.wait is not None:
        return failure.wait
    return FIRST_PAUSE * float(2 ** (state.attempt_number - 1)) * random.uniform(1.0, 1.5)  # noqa: S311 - jitter, no secret
