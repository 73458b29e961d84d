"""What an input may cost, with so much room that no machine is too slow, and how it is refused."""

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from time import process_time


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Fail where the block takes more processor time than this."""
    began = process_time()
    yield
    taken = process_time() - began
    assert taken < seconds, f"{taken:.1f} s of processor time"


@contextmanager
def within_memory(size: int) -> Iterator[None]:
    """Fail where the block has held more than `size` bytes at once, beyond what was there."""
    gc.collect()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size, f"{peak >> 20} MiB at the peak"


def told(mistake: Exception) -> None:
    """Fail where what a mistake says could not be shown in one line."""
    assert str(mistake)
    assert str(mistake).isprintable()
