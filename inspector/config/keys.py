"""Who may listen and who may connect beyond this machine, and the files with CURVE keys."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from inspector.config.secrets import read_secret, read_trusted
from inspector.config.strict import Strict
from inspector.domain.errors import ConfigError

#: 32 bytes in the encoding of keys, Z85 (rfc.zeromq.org/spec/32).
_Z85_KEY = re.compile(rb"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


class CurveKeys(Strict):
    """Who may connect to an endpoint, by CURVE keys as `inspector keys` makes them; all others are turned away."""

    secret_key: Path
    """File with this station's secret key."""
    clients: Path
    """Folder with the public keys (NAME.key) of those who may connect."""


def listening_or_raise(host: str, protected: bool, remedy: str) -> None:
    """Loopback may be listened on; another address of this machine only if who comes from there proves who it is.

    Args:
        host: The address.
        protected: Who comes must prove who it is.
        remedy: What to do if not, for the message.

    Raises:
        ValueError: It may not be listened on.
    """
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
        if protected and not loopback:
            raise ValueError(
                f"{host!r} is no IP address; give that of one of this machine's network cards, or 0.0.0.0 for all"
            ) from None
    if not loopback and not protected:
        raise ValueError(f"{host!r} is not a loopback address; to listen beyond this machine {remedy}")


def secret_key(path: Path, setting: str) -> bytes:
    """The secret key in a file: as `inspector keys` writes it, or its 40 characters alone.

    Raises:
        ConfigError: The file can't be read, holds none, or lies open to others.
    """
    content = read_secret(path, setting)
    return _key_in(content, b"secret-key", f"{setting}: {path} holds no secret key; make one with: inspector keys NAME")


def public_key(path: Path, setting: str) -> bytes:
    """The public key in a file: as `inspector keys` writes it, or its 40 characters alone.

    Raises:
        ConfigError: The file can't be read, holds none, or holds a secret key too.
    """
    content = read_trusted(path, setting)
    if b"secret-key" in content:
        raise ConfigError(f"{setting}: {path} holds a secret key, which only its owner should have; put NAME.key there")
    return _key_in(content, b"public-key", f"{setting}: {path} holds no public key, as NAME.key of `inspector keys`")


def _key_in(content: bytes, name: bytes, otherwise: str) -> bytes:
    found = re.search(rb"^\s*" + name + rb'\s*=\s*"?([^"\s]*)"?\s*$', content, re.MULTILINE)
    key = found.group(1) if found else content.strip()
    if not _Z85_KEY.fullmatch(key):
        raise ConfigError(otherwise)
    return key
