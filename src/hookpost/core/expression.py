"""What a compiled expression is; `config` compiles it."""

from collections.abc import Callable
from typing import Any

Expression = Callable[[Any], Any]
"""A document in, a JSON value out; raises ValueError when it fails or costs too much."""
