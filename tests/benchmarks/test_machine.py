import os
import shutil

import pytest
from bench.machine import build_slow_sync, check_slow_sync, cpu_seconds, resident_mb


def test_cpu_time_of_a_process_that_computes_grows():
    before = cpu_seconds(os.getpid())
    sum(range(2_000_000))
    assert 0.0 < cpu_seconds(os.getpid()) - before < 10.0


def test_the_peak_of_resident_memory_is_at_least_what_is_resident():
    assert 1.0 < resident_mb(os.getpid()) <= resident_mb(os.getpid(), peak=True)


def test_a_sync_under_the_shim_takes_as_much_longer_as_was_asked(tmp_path):
    shim = build_slow_sync(tmp_path)
    if shim is None:
        assert not any(shutil.which(name) for name in ("cc", "gcc", "clang"))
        pytest.skip("no C compiler (cc, gcc or clang) was found")
    assert check_slow_sync(shim, 20_000, tmp_path) >= 20.0
