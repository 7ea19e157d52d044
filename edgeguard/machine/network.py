"""The way out of this machine, as its environment names it: the proxy, and the authorities that are trusted; and the
passwords of sites behind Basic authentication.

HTTPS_PROXY, HTTP_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR count alike for the site, for Fastly's API, and for
git, pip and npm. This machine's own addresses are asked without a proxy.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from edgeguard.errors import UsageError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from urllib.parse import SplitResult

_WORDS = {
    "HTTP_PROXY": ("http_proxy",),  # curl, and with it git, has no HTTP_PROXY
    "HTTPS_PROXY": ("https_proxy",),
    "SSL_CERT_FILE": ("GIT_SSL_CAINFO", "PIP_CERT", "NODE_EXTRA_CA_CERTS"),
    "SSL_CERT_DIR": ("GIT_SSL_CAPATH",),  # of no effect where Git is built with GnuTLS
}
"""Variables, and the names that other programs have for the same."""
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
        ValueError: this is no URL.
        UsageError: the proxy's own address is not http://….
    """
    if not any(name.lower() in ("http_proxy", "https_proxy") and said for name, said in os.environ.items()):
        return None  # the usual case, without the import
    from urllib.request import getproxies_environment, proxy_bypass  # noqa: PLC0415 (heavy: 20 ms)

    parts, proxies = urlsplit(url), getproxies_environment()
    host = parts.hostname or ""
    named = f"{host}:{parts.port}" if parts.port else host
    if _here(host) or proxy_bypass(named) or _in_network(host, proxies.get("no", "")):
        return None
    found = proxies.get(parts.scheme)
    if not found:
        return None
    whole = found if "://" in found else f"http://{found}"
    if not whole.startswith("http://"):
        raise UsageError(
            f"{parts.scheme.upper()}_PROXY is not the address of a proxy that can be used",
            "Write http://HOST:PORT, through which TLS is led.",
        )
    return whole


def in_their_words(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that has to take the same way out. What it says already stays."""
    told = {name: environment[ours] for ours, theirs in _WORDS.items() if environment.get(ours) for name in theirs}
    if environment.get("HTTP_PROXY") or environment.get("HTTPS_PROXY"):
        never = environment.get("NO_PROXY", "")
        told["no_proxy"] = ",".join(filter(None, (never, "localhost", "127.0.0.1", "::1")))
    return {**told, **environment}


def is_private(url: str) -> bool:
    """Whether nobody on the way to this URL can read what is sent there: it is https://, or stays on this machine, also
    by a proxy that listens here."""
    parts = urlsplit(url)
    if parts.scheme == "https" or _here(parts.hostname or ""):
        return True
    by = proxy(url)
    return by is not None and _here(urlsplit(by).hostname or "")


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


def _in_network(host: str, never: str) -> bool:
    """Whether NO_PROXY names a network, such as 10.0.0.0/8, that has this address."""
    if "/" not in never:
        return False
    import ipaddress  # noqa: PLC0415 (only where there is a proxy)

    for named in never.split(","):
        with suppress(ValueError):
            if "/" in named and ipaddress.ip_address(host) in ipaddress.ip_network(named.strip(), strict=False):
                return True
    return False


@cache
def authorities() -> ssl.SSLContext:
    """The authorities to trust. Reading them takes longer than most answers, so it is done once, and only for TLS.

    Raises:
        UsageError: a file or folder that the environment names can't be read.
    """
    import ssl  # noqa: PLC0415 (only for TLS)

    for name, needed in (("SSL_CERT_FILE", os.R_OK), ("SSL_CERT_DIR", os.R_OK | os.X_OK)):
        if (path := os.environ.get(name)) and not any(os.access(one, needed) for one in path.split(os.pathsep)):
            raise UsageError(f"{name}: {path} can't be read", "Name a file or folder of certificates, or unset it.")
    return ssl.create_default_context()  # OpenSSL itself heeds SSL_CERT_FILE and SSL_CERT_DIR
