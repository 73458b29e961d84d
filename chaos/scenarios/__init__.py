"""The scenarios: one function each, by name."""

from collections.abc import Awaitable, Callable

from chaos.rig import Rig
from chaos.scenarios import disk
from chaos.scenarios.kills import kill

Scenario = Callable[[Rig], Awaitable[None]]

SCENARIOS: dict[str, Scenario] = {
    "kill": kill,
    "power": disk.power_cuts,
    "eio": disk.failing_syncs,
    "slow": disk.slow_syncs,
    "trace": disk.traced,
}
