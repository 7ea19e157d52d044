"""Public SSH keys as a line of `authorized_keys` has them, read strictly (RFC 4253 6.6, RFC 5656 3.1, PROTOCOL.u2f)."""

from __future__ import annotations

import base64
import binascii

_ECDSA = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
"""The curves, each with the bytes of a point that is not compressed."""
_ED25519 = 32
_FEWEST, _MOST = 2048, 16_384
"""Bits of an RSA key. sshd takes no key with more."""
_LONGEST_COMMENT = 200
_PRIVATE = ("PRIVATE KEY", "PuTTY-User-Key-File", "b3BlbnNzaC1rZXktdjE")  # the last is openssh-key-v1 in base64
KINDS = (
    "ssh-ed25519",
    *(f"ecdsa-sha2-{curve}" for curve in _ECDSA),
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
"""The kinds of keys that are taken. Keys by DSA are not, since sshd takes none, and certificates are no keys."""


def checked(text: str) -> str:
    """A public key on one line: its kind, its content in base64, and perhaps a comment.

    Raises:
        ValueError: it is none, it is too weak, or it has options. The message shows nothing of it, since it may be a
            private key.
    """
    if any(mark in text for mark in _PRIVATE):
        raise ValueError(
            "this is a private key, which nobody else may see: make a new one, and name what is in its .pub"
        )
    kind, _, rest = text.strip().partition(" ")
    content, _, comment = rest.strip().partition(" ")
    if kind not in KINDS:
        raise ValueError(
            f"this is no public key without options; it begins with {', '.join(KINDS[:-1])} or {KINDS[-1]}"
        )
    if not comment.isprintable() or len(comment) > _LONGEST_COMMENT:
        raise ValueError(f"the key's comment is not a line of at most {_LONGEST_COMMENT} characters")
    try:
        blob = base64.b64decode(content, validate=True)
        _refuse_weak(kind, _parts(blob))
    except (binascii.Error, EOFError) as exc:
        raise ValueError(f"this is no whole {kind} key; copy the one line of the .pub file") from exc
    return " ".join(filter(None, (kind, content, comment.strip())))


def content(key: str) -> str:
    """What tells a key from others: its line without the comment."""
    return " ".join(key.split()[:2])


def _refuse_weak(kind: str, parts: list[bytes]) -> None:
    """Raise EOFError where the parts are not those of this kind, and ValueError where the key is too weak."""
    name, *rest = parts
    if name != kind.encode():
        raise EOFError
    if kind == "ssh-rsa":
        bits = int.from_bytes(_at(rest, 1, of=2), "big").bit_length()
        if not _FEWEST <= bits <= _MOST:
            raise ValueError(f"an RSA key has {_FEWEST} to {_MOST} bits, and this one has {bits}; make an Ed25519 key")
        return
    security_key = kind.startswith("sk-")
    curve = next((curve for curve in _ECDSA if curve in kind), None)
    if curve is None:
        fits = len(_at(rest, 0, of=1 + security_key)) == _ED25519
    else:
        point = _at(rest, 1, of=2 + security_key)
        fits = rest[0] == curve.encode() and len(point) == _ECDSA[curve] and point[0] == 4  # noqa: PLR2004 (SEC 1: 2.3.3)
    if not fits:
        raise EOFError


def _at(parts: list[bytes], place: int, *, of: int) -> bytes:
    if len(parts) != of:
        raise EOFError
    return parts[place]


def _parts(blob: bytes) -> list[bytes]:
    """The strings in a blob, each of which has its length in front (RFC 4251 5). Raises EOFError."""
    found = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise EOFError
        found.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    if not found:
        raise EOFError
    return found
