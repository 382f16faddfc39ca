"""The errors of the project, grouped by what the process does next.

::

    InspectionError
    ├── PartError        the part is not inspected, its cause is counted, the loop goes on
    └── FatalError       one log line, the process exits with `exit_code`
        ├── ConfigError      the configuration is wrong (78, EX_CONFIG)
        ├── RecipeError      the recipe is missing, damaged or foreign (65, EX_DATAERR)
        ├── DataError        the given images can't be used (65, EX_DATAERR)
        ├── CameraError      the camera can't be opened or was lost (69, EX_UNAVAILABLE)
        ├── EngineError      the network can't run on this device (70, EX_SOFTWARE)
        └── AlreadyRunning   a second daemon on the same runtime folder (75, EX_TEMPFAIL)

The codes are those of ``sysexits.h``, which systemd prints by name.
"""

from __future__ import annotations

from inspector.domain.verdict import Cause


class InspectionError(Exception):
    """Base of every error that the project raises on purpose."""


class PartError(InspectionError):
    """One part can't be judged: it is settled as not inspected and the loop goes on.

    Attributes:
        cause: What the verdict of the part will name.
    """

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class FatalError(InspectionError):
    """The process can't go on: one log line and an exit code that systemd knows."""

    exit_code = 70


class ConfigError(FatalError):
    """The configuration is wrong; the message carries file and line."""

    exit_code = 78


class RecipeError(FatalError):
    """The recipe is missing, damaged, of a foreign version, or not fit to inspect."""

    exit_code = 65


class DataError(FatalError):
    """The given images can't be used; the message names the file or folder."""

    exit_code = 65


class CameraError(FatalError):
    """The camera can't be opened, was lost, or delivers nothing."""

    exit_code = 69


class EngineError(FatalError):
    """The network can't run on the chosen device."""

    exit_code = 70


class AlreadyRunning(FatalError):  # noqa: N818  the name says it better than AlreadyRunningError
    """Another daemon holds the lock of the same runtime folder."""

    exit_code = 75
