"""`hookpost run`: from a file to an exit code."""

import asyncio
import gc
import logging
import resource
import sys
from collections.abc import Callable

from hookpost import logs
from hookpost.config import load
from hookpost.core.errors import AlreadyLocked, OutboxError, StorageCorrupt
from hookpost.core.settings import Config
from hookpost.daemon.gateway import Gateway
from hookpost.daemon.options import Options
from hookpost.daemon.sockets import CannotListen
from hookpost.systemd import SystemdError

log = logging.getLogger("hookpost.daemon")

UNAVAILABLE, CANNOT_CREATE, LOCKED, FORBIDDEN, INVALID = 69, 73, 75, 77, 78


def run(options: Options) -> int:
    """Run the gateway until it is told to stop; the exit code."""
    loaded = load(options.path)
    if loaded.config is None:
        for diagnostic in loaded.diagnostics:
            sys.stderr.write(diagnostic.render() + "\n")
        return loaded.exit_code
    configure_logs(options, loaded.config)
    try:
        for warning in loaded.warnings:
            log.warning("config.warning", extra={"fields": {"warning": warning.render()}})
        raise_descriptor_limit()
        return _loop(options, loaded.config)
    finally:
        logs.close()


def configure_logs(options: Options, config: Config) -> None:
    """The command line's level and format, else the file's."""
    level = options.log_level or config.logging.level
    logs.configure(level, options.log_format or config.logging.format)


def raise_descriptor_limit() -> None:
    """The soft limit of open files up to the hard one: sockets are what a gateway is made of."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def spare_the_collector() -> None:
    """What is loaded by now stays for ever: do not look at it again; look less often at the rest.

    Requests and deliveries make hardly any cycles; measured, the collector took 9 % of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _loop(options: Options, config: Config) -> int:
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
        log.warning("uvloop.absent", extra={"fields": {"loop": "asyncio"}})
    spare_the_collector()
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_serve(options, config))


async def _serve(options: Options, config: Config) -> int:
    try:
        gateway = await Gateway.open(options, config)
    except AlreadyLocked as error:
        return _refused(error, LOCKED)
    except StorageCorrupt as error:
        return _refused(error, INVALID)  # starting it again would not mend the file
    except OutboxError as error:
        forbidden = isinstance(error.__cause__, PermissionError)
        return _refused(error, FORBIDDEN if forbidden else CANNOT_CREATE)
    except (CannotListen, SystemdError) as error:
        return _refused(error, getattr(error, "code", UNAVAILABLE))
    return await gateway.run()


def _refused(error: Exception, code: int) -> int:
    log.error("start.refused", extra={"fields": {"error": str(error), "exit": code}})
    return code
