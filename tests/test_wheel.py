"""The wheel: built, installed into a fresh environment, and run as a user would."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from hookpost import __version__

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that holds the wheel; its libraries are this environment's."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    done = ran(sys.executable, *build)
    assert done.returncode == 0, done.stderr + done.stdout
    (wheel,) = folder.glob("hookpost-*.whl")
    fresh = folder / "env"
    venv.create(fresh, with_pip=False)
    python = fresh / "bin" / "python"
    pip = ("-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    done = ran(sys.executable, *pip, "--disable-pip-version-check", "--quiet")
    assert done.returncode == 0, done.stderr
    place = next(fresh.glob("lib/python*/site-packages"))
    libraries = Path(sysconfig.get_paths()["purelib"])
    # a plain .pth line: this environment's own .pth files, the editable install's, do not run
    (place / "libraries.pth").write_text(f"{libraries}\n")
    return fresh


def ran(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=100, env=clean | environment
    )


def test_the_console_script_runs_and_is_the_wheels(installed: Path) -> None:
    done = ran(str(installed / "bin" / "hookpost"), "--version")
    assert (done.returncode, done.stdout) == (0, f"hookpost {__version__}\n")
    where = ran(
        str(installed / "bin" / "python"), "-c", "import hookpost; print(hookpost.__file__)"
    )
    assert where.stdout.startswith(str(installed))


def test_the_schema_is_in_the_wheel(installed: Path) -> None:
    done = ran(str(installed / "bin" / "python"), "-m", "hookpost", "config", "schema")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "schema" / "gateway.schema.json").read_text()


def test_the_example_passes_check_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    command = ("-m", "hookpost", "check", "--strict", "--secrets", "skip", "-c")
    python = str(installed / "bin" / "python")
    done = ran(python, *command, str(ROOT / "gateway.example.yaml"))
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_wheels_queries_and_migrations_make_a_database(installed: Path, tmp_path: Path) -> None:
    """Files that are not Python must be in the wheel, too: a whole outbox is opened with it."""
    code = (
        "import asyncio, sys; from pathlib import Path; from hookpost.clock import SystemClock\n"
        "from hookpost.storage.sqlite import SqliteOutbox\n"
        "async def main():\n"
        "    outbox = await SqliteOutbox.open(Path(sys.argv[1]), clock=SystemClock())\n"
        "    await outbox.close()\n"
        "asyncio.run(main())\n"
    )
    database = tmp_path / "outbox.db"
    done = ran(str(installed / "bin" / "python"), "-c", code, str(database))
    assert done.returncode == 0, done.stderr
    assert database.stat().st_size > 0
