"""`python -m calibration` is the command `calibrate`."""

from __future__ import annotations

import sys

from calibration.cli.main import main

sys.exit(main())
