"""The way out of this machine, as its environment names it: the proxy, and the authorities that are trusted; and the
passwords of sites behind Basic authentication.

HTTPS_PROXY, HTTP_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR count for the site and for Fastly's API alike. This
machine's own addresses are asked without a proxy.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from urllib.parse import SplitResult

_PORTS = {"http": 80, "https": 443}
_passwords: dict[tuple[str, str, int | None], str] = {}


def sign_in(passwords: Mapping[str, str]) -> None:
    """From now on, requests to these sites, such as https://www.example.com, name this `user:password` (as in a URL).

    A process has one list, as it has one proxy. It only grows.
    """
    _passwords.update({_site(url): said for url, said in passwords.items()})


def authorization(url: str) -> dict[str, str]:
    """The header with the user and the password of this URL's site, if it has them. Raises ValueError for no URL."""
    if not _passwords or (said := _passwords.get(_site(url))) is None:
        return {}
    user, _, secret = said.partition(":")
    return {"Authorization": _basic(user, secret)}


def _site(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: a password for https must not be sent by http."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


def _basic(user: str, secret: str) -> str:
    """Basic authentication (RFC 7617) with a URL's user and password."""
    import base64  # noqa: PLC0415 (only where there is a password)

    return f"Basic {base64.b64encode(f'{unquote(user)}:{unquote(secret)}'.encode()).decode()}"


def proxy(url: str) -> str | None:
    """The proxy's URL for this URL; None to ask without a proxy.

    Raises:
        ValueError: this is no URL, or the proxy's own address is not http://….
    """
    if not any(name.lower() in ("http_proxy", "https_proxy") and said for name, said in os.environ.items()):
        return None  # the usual case, without the import
    from urllib.request import getproxies_environment, proxy_bypass  # noqa: PLC0415 (heavy: 20 ms)

    parts, proxies = urlsplit(url), getproxies_environment()
    host = parts.hostname or ""
    if _here(host) or proxy_bypass(f"{host}:{parts.port}" if parts.port else host):
        return None
    found = proxies.get(parts.scheme)
    if not found:
        return None
    whole = found if "://" in found else f"http://{found}"
    if not whole.startswith("http://"):
        raise ValueError(f"the proxy for {parts.scheme} has to be an http:// address, through which TLS is led")
    return whole


def password(proxy: SplitResult) -> dict[str, str]:
    """The header with the name and the password of the proxy's URL, if it has them."""
    if proxy.username is None:
        return {}
    return {"Proxy-Authorization": _basic(proxy.username, proxy.password or "")}


def _here(host: str) -> bool:
    """Whether this is an address of this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress  # noqa: PLC0415 (only where there is a proxy)

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@cache
def authorities() -> ssl.SSLContext:
    """The authorities to trust. Reading them takes longer than most answers, so it is done once, and only for TLS."""
    import ssl  # noqa: PLC0415 (only for TLS)

    return ssl.create_default_context()  # OpenSSL itself heeds SSL_CERT_FILE and SSL_CERT_DIR
