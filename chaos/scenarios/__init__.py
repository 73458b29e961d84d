"""The scenarios: one function each, by name."""

from collections.abc import Awaitable, Callable

from chaos.rig import Rig
from chaos.scenarios.kills import kill

Scenario = Callable[[Rig], Awaitable[None]]

SCENARIOS: dict[str, Scenario] = {"kill": kill}
