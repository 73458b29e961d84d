"""The exit codes of every command (sysexits where one exists)."""

OK = 0
NEGATIVE = 1  # a negative finding: not found, not verified, refused
WARNINGS = 3  # warnings under --strict, or a restart is needed
USAGE = 64
NO_INPUT = 66  # no such file
UNAVAILABLE = 69  # daemon unreachable, or address taken
INTERNAL = 70
CANNOT_CREATE = 73
LOCKED = 75
NO_PERMISSION = 77
INVALID_CONFIG = 78
