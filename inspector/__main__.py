"""`python -m inspector` is the command `inspector`."""

from __future__ import annotations

import sys

from inspector.cli.main import main

sys.exit(main())
