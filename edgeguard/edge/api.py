"""Fastly's API, one call at a time: the only module that imports the official client and urllib3.

What the client leaves to us: it has no time-out, repeats some calls by itself, lets urllib3's errors through, and
checks answers against types that the API has outgrown. Here every call is bounded, foreign errors become ours, and
what may be done twice is repeated. The client is imported at the first call (90 ms).
"""

from __future__ import annotations

import importlib
import json
import random
import re
import threading
import time
from contextlib import contextmanager
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from edgeguard.errors import EdgeError, EdgeUnauthorized, EdgeUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import tenacity

_Result = TypeVar("_Result")

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 15.0
ATTEMPTS = 4
PATIENCE = 20.0
"""Seconds after which nothing is begun again, and the longest that a throttled call is waited for."""
FIRST_PAUSE = 0.2
_SAID = 500
"""Characters of an answer that an error may quote."""


class Missing(EdgeError):
    """404: what the call names does not exist."""


class Throttled(EdgeUnavailable):
    """An answer that says when to come back: in `wait` seconds."""

    def __init__(self, message: str, remedy: str, wait: float) -> None:
        super().__init__(message, remedy)
        self.wait = wait


class Api:
    """May be used from several threads; calls wait for each other, as Fastly's API can't take concurrent changes."""

    def __init__(self, url: str, token: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        if not re.fullmatch(r"[\x21-\x7e]+", token):  # else it would be quoted in full by the error about the header
            raise EdgeUnauthorized(
                "the Fastly token holds characters that no token has", "Set FASTLY_API_TOKEN to the token alone."
            )
        self._url = url.rstrip("/")
        self._token = token
        self._sleep = sleep
        self._lock = threading.Lock()

    def call(self, operation: str, doing: str, arguments: Mapping[str, object], *, repeat: bool = False) -> Any:  # noqa: ANN401 - JSON is of any type
        """Call `module.method` of the client, and give the answer's JSON.

        `doing` is said in errors ("could not …"). With `repeat` it is tried again where that can help, at most
        ATTEMPTS times in PATIENCE seconds.

        Raises:
            EdgeUnauthorized, EdgeUnavailable, Missing, EdgeError: see there. None of them shows the token.
        """
        if repeat:
            return self.repeated(lambda: self.call(operation, doing, arguments))
        with self._lock, self._border(doing):
            module, method = operation.split(".")
            name = "".join(word.title() for word in module.split("_")) + "Api"
            api = getattr(importlib.import_module(f"fastly.api.{module}_api"), name)(self._client)
            getattr(api, method)(
                **arguments,
                _request_timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                _check_return_type=False,
            )
            return json.loads(self._client.last_response.data)

    def change_items(self, arguments: Mapping[str, object], operations: Sequence[Mapping[str, str]]) -> None:
        """Change a dictionary's items in one call. Not repeated here."""
        items = "fastly.model.bulk_update_dictionary_item", "BulkUpdateDictionaryItem"
        request = "fastly.model.bulk_update_dictionary_list_request", "BulkUpdateDictionaryListRequest"
        item_type, request_type = (getattr(importlib.import_module(module), name) for module, name in (items, request))
        batch = request_type(items=[item_type(**operation) for operation in operations])
        doing = "write to the dictionary"
        named = {**arguments, "bulk_update_dictionary_list_request": batch}
        self.call("dictionary_item.bulk_update_dictionary_item", doing, named)

    def repeated(self, act: Callable[[], _Result], *, also: tuple[type[EdgeError], ...] = ()) -> _Result:
        """Do it again while it fails for a reason that may pass (and for those in `also`), within the bounds."""
        import tenacity  # noqa: PLC0415 (heavy: 35 ms)

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((EdgeUnavailable, *also)),
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
        return fastly.ApiClient(configuration)

    @contextmanager
    def _border(self, doing: str) -> Iterator[None]:
        """Foreign errors end here."""
        import fastly.exceptions  # noqa: PLC0415 (heavy: 90 ms)
        import urllib3.exceptions  # noqa: PLC0415

        remedy = "Try again later; if it lasts, look at edge.api_url and at fastlystatus.com."
        try:
            yield
        except fastly.exceptions.ApiException as exc:
            raise self._refusal(doing, exc) from exc
        except urllib3.exceptions.HTTPError as exc:
            why = self._without_token(str(exc) or type(exc).__name__)
            raise EdgeUnavailable(f"could not {doing}: Fastly's API gives no answer ({why})", remedy) from exc
        except AttributeError as exc:
            # The client stumbles over its own error where TLS fails: it has no body to decode.
            cause = exc.__context__
            if not isinstance(cause, fastly.exceptions.ApiException):
                raise
            raise EdgeUnavailable(
                f"could not {doing}: no TLS ({self._without_token(str(cause.reason))})", remedy
            ) from exc
        except (UnicodeDecodeError, json.JSONDecodeError, fastly.exceptions.OpenApiException) as exc:
            why = type(exc).__name__
            raise EdgeUnavailable(f"could not {doing}: the answer is not one of Fastly's API ({why})", remedy) from exc

    def _refusal(self, doing: str, exc: Any) -> EdgeError:  # noqa: ANN401 - the client's ApiException has no types
        """Our error for an answer that isn't 2xx."""
        status, headers = int(exc.status or 0), exc.headers or {}
        said = f"could not {doing}: {status} {self._without_token(_said(exc.body))[:_SAID]}".rstrip()
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return EdgeUnauthorized(
                said, "Check FASTLY_API_TOKEN: it needs the scope global for this service, and may have expired."
            )
        if status == HTTPStatus.NOT_FOUND:
            return Missing(said, "Check edge.service, and that the token may see that service.")
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait = _wait(headers)
            if wait is None:
                return EdgeUnavailable(said, "Try again later; fastlystatus.com tells of incidents.")
            return Throttled(said, f"Try again in {wait:.0f} s.", wait)
        return EdgeError(said, "If this is not plain, look at the service in Fastly's own control panel.")

    def _without_token(self, text: str) -> str:
        return " ".join(text.replace(self._token, "(the token)").split())


def _said(body: object) -> str:
    """What an error's body says."""
    text = str(body or "")
    try:
        content = json.loads(text)
        text = ": ".join(str(content[key]) for key in ("msg", "title", "detail") if content.get(key)) or text
    except (ValueError, AttributeError):
        pass
    return text


def _wait(headers: Mapping[str, str]) -> float | None:
    """How long an answer asks to wait: Retry-After in seconds, else until the rate limit's reset (Unix time)."""
    seconds, reset = headers.get("Retry-After", ""), headers.get("Fastly-RateLimit-Reset", "")
    if seconds.isdecimal():
        return float(seconds)
    if reset.isdecimal() and headers.get("Fastly-RateLimit-Remaining") == "0":
        return max(0.0, float(reset) - time.time())
    return None


def _pause(state: tenacity.RetryCallState) -> float:
    """As long as the answer asked for, else twice as long each time, with jitter."""
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, Throttled):
        return failure.wait
    return FIRST_PAUSE * float(2 ** (state.attempt_number - 1)) * random.uniform(1.0, 1.5)  # noqa: S311 - jitter, no secret
