"""Asks a station for its metrics again and again until its standard input ends; a program of its own."""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

#: The page is made anew at most so often.
_PAUSE_S = 0.1


@contextlib.contextmanager
def scraped(port: int) -> Iterator[None]:
    """The metrics on this port are asked for within, ten times a second."""
    process = subprocess.Popen([sys.executable, "-m", "inspector.benchmark.scraper", str(port)], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.communicate()


def _scrape(port: int) -> None:
    while not select.select([sys.stdin], [], [], _PAUSE_S)[0]:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):  # it may stop before this does
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2).read()


if __name__ == "__main__":
    _scrape(int(sys.argv[1]))
