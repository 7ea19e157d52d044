"""The web server: 24 short pages, a health check, and a greeting for visitors who have a session.

A cache in front may keep pages for one second; each page carries the keys that purge it. The answer to a request with
a session is private. Every answer names its release.
"""

from __future__ import annotations

import os
import signal
from html import escape
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

PAGES = 24
TTL = 1  # seconds
RELEASE = os.environ.get("PLATFORM_TREE_ID", "development")[:12]
PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
LIGHTS = (
    *("Eddystone", "Bell Rock", "Skerryvore", "Fastnet", "Cordouan", "Creach", "La Jument", "Ar Men"),
    *("Roter Sand", "Lange Anna", "Kullen", "Bengtskar", "Sletringen", "Lindesnes", "Hercules", "Cabo da Roca"),
    *("Genova", "Savudrija", "Cape Hatteras", "Peggys Cove", "Portland Head", "Macquarie", "Cape Byron", "Green Point"),
)


class Visitor(BaseHTTPRequestHandler):
    """One visitor's connection. It is kept open between requests, and each answer leaves in one packet."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 75

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.partition("?")[0]
        if path == "/health":
            self.answer(
                200, "ok\n", {"Cache-Control": "private, no-store", "Content-Type": "text/plain; charset=utf-8"}
            )
        elif path == "/":
            self.page(0, "Lights", contents())
        elif path.startswith("/page/") and path[6:].isdecimal() and 1 <= int(path[6:]) < PAGES:
            number = int(path[6:])
            self.page(number, LIGHTS[number], f"<p>This is light {number} of {PAGES - 1}.</p>")
        else:
            self.answer(404, "There is no such page.\n", {"Cache-Control": "no-store"})

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def page(self, number: int, title: str, body: str) -> None:
        """A page: one that everybody gets, or one with a greeting for a single visitor."""
        name = self.session()
        if name is not None:
            headers = {"Cache-Control": "private, no-store"}
        else:
            headers = {
                "Cache-Control": f"max-age={TTL}",
                "Surrogate-Control": f"max-age={TTL}",
                "Surrogate-Key": f"release page-{number}",
            }
        greeting = "" if name is None else f"Good evening, {escape(name)}"
        self.answer(200, PAGE.substitute(title=title, greeting=greeting, body=body), headers)

    def session(self) -> str | None:
        """The visitor's name; None for an anonymous visitor."""
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("session")
        except CookieError:
            return None
        return None if cookie is None else cookie.value

    def answer(self, status: int, text: str, headers: dict[str, str]) -> None:
        """Send one whole answer."""
        content = text.encode()
        said = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(content)),
            "X-Release": RELEASE,
            **headers,
        }
        self.send_response(status)
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing: the server in front keeps the log."""


class Server(ThreadingHTTPServer):
    """A server that ends even while visitors' connections are open."""

    daemon_threads = True
    request_queue_size = 128


def contents() -> str:
    """Links to all the pages."""
    links = "".join(f'<li><a href="/page/{number}">{LIGHTS[number]}</a></li>' for number in range(1, PAGES))
    return f"<nav><ol>{links}</ol></nav>"


def main() -> None:
    """Serve on PORT until SIGTERM, which stops it at once."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with Server(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Visitor) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
