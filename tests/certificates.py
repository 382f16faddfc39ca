"""Certificates for tests of TLS, made with the command openssl."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificates(folder: Path) -> Path:
    """Two authorities, plant and foreign, and certificates of them: station and prometheus of the one, stranger of the
    other. Skips without openssl, fails under CI.

    Returns:
        The folder, with NAME.pem and NAME.key of each.
    """
    if shutil.which("openssl") is None:
        reason = "makes certificates with the command openssl, which is not here"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    def make(name: str, *more: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"]
        subprocess.run(["openssl", "req", "-x509", *key, *files, *more], cwd=folder, check=True, capture_output=True)

    def signed(name: str, by: str, *more: str) -> None:
        make(name, "-CA", f"{by}.pem", "-CAkey", f"{by}.key", *more)

    make("plant")
    make("foreign")
    signed("station", "plant", "-addext", "subjectAltName=IP:127.0.0.1")
    signed("prometheus", "plant")
    signed("stranger", "foreign")
    return folder
