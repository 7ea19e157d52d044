"""The page that is behind the edge where no origin is given."""

from __future__ import annotations

import html
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from edgeguard.standin.wire import Answer

if TYPE_CHECKING:
    from edgeguard.standin.wire import Received

PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>The stand-in</title>
<p>This page is the stand-in's own: it was started without <code>--origin</code>.
<p>Made for <code>{target}</code> at {now}.
</html>
"""


async def page(received: Received) -> Answer:
    """Answer every path with the page, which may be cached for a minute. Other methods than GET and HEAD get 405."""
    now = formatdate(usegmt=True)
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Date", now)]
    if received.method not in {"GET", "HEAD"}:
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED, [*headers, ("Allow", "GET, HEAD")])
    headers += [("Cache-Control", "max-age=60"), ("Surrogate-Key", "page")]
    return Answer(HTTPStatus.OK, headers, PAGE.format(target=html.escape(received.target), now=now).encode())
