"""The scenarios: one function each, by name."""

from collections.abc import Awaitable, Callable

from chaos.rig import Rig
from chaos.scenarios import clocks, disk, limits, network, signals
from chaos.scenarios.kills import kill

Scenario = Callable[[Rig], Awaitable[None]]

SCENARIOS: dict[str, Scenario] = {
    "kill": kill,
    "power": disk.power_cuts,
    "eio": disk.failing_syncs,
    "slow": disk.slow_syncs,
    "trace": disk.traced,
    "proxy": network.proxied,
    "hup": signals.hangups,
    "term": signals.terminations,
    "clock": clocks.steps,
    "backlog": limits.backlog,
    "full": limits.full_disk,
    "pages": limits.full_pages,
    "locked": limits.locked,
    "fds": limits.descriptors,
}
