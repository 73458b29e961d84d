"""The shipped units: hardened, valid, and safe from SIGHUP from the first instant."""

import configparser
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parent.parent / "systemd"
PROGRAM = "/opt/hookpost/bin/hookpost"

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def unit(name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read(UNITS / name)
    return parser


@analyze
def test_the_exposure_of_the_service_is_at_most_1_5() -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15",
         UNITS / "hookpost.service"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    level = re.search(r"Overall exposure level for hookpost.service: ([0-9.]+)", told.stdout)
    assert level is not None, told.stderr
    assert float(level[1]) <= 1.5
    assert told.returncode == 0


@analyze
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    service = (UNITS / "hookpost.service").read_text()
    assert service.count(PROGRAM) >= 2
    (tmp_path / "hookpost.service").write_text(service.replace(PROGRAM, sys.executable))
    shutil.copy(UNITS / "hookpost.socket", tmp_path)
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
         tmp_path / "hookpost.service", tmp_path / "hookpost.socket"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert told.stderr == ""
    assert told.returncode == 0


def test_the_service_ends_for_good_on_codes_that_a_restart_cannot_mend() -> None:
    service = unit("hookpost.service")["Service"]
    assert service["RestartPreventExitStatus"] == "64 66 77 78"
    assert service["Type"] == "notify"
    assert "WatchdogSec" in service
    assert "StateDirectory" in service
    assert "ProcSubset" not in service  # it would hide every process_* metric


def test_the_socket_is_passed_under_a_listeners_name() -> None:
    assert unit("hookpost.socket")["Socket"]["FileDescriptorName"] == "ingest"


def test_a_hangup_at_any_instant_does_not_kill_what_the_service_starts(tmp_path: Path) -> None:
    started = unit("hookpost.service")["Service"]["ExecStart"]
    match = re.fullmatch(r"/bin/sh -c '(.*)'", started)
    assert match is not None
    program = tmp_path / "hookpost"  # tells what it inherited, before it has set anything itself
    told = tmp_path / "told"
    program.write_text(f"#!/bin/sh\ngrep SigIgn /proc/$$/status > {told}\n")
    program.chmod(0o755)
    subprocess.run(
        ["/bin/sh", "-c", match[1].replace(PROGRAM, os.fspath(program))], timeout=30, check=True
    )
    ignored = int(told.read_text().split()[1], 16)
    assert ignored >> (signal.SIGHUP - 1) & 1


def test_account_and_directories_belong_to_the_services_user() -> None:
    user = unit("hookpost.service")["Service"]["User"]
    assert re.search(rf"^u {user} ", (UNITS / "sysusers.d/hookpost.conf").read_text(), re.M)
    directories = (UNITS / "tmpfiles.d/hookpost.conf").read_text()
    assert re.search(rf"^d /etc/hookpost 0750 root {user} -$", directories, re.M)
