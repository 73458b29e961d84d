"""Readings of one long life: taken, written as CSV, and their slopes."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

HOUR = 3600.0
WARM_UP = 1 / 3  # of the time, which no slope counts
GROWTH = 0.1  # of the mean, by which a flat series may grow while it is measured
COUNTS = 2.0  # the same of things that are counted, at least
MEMORY = 1 << 20  # bytes an hour that resident memory may grow where it is watched for an hour

COLUMNS = ("resident", "descriptors", "threads", "wal", "database")
UNITS = {"resident": "bytes", "wal": "bytes", "database": "bytes"}
BESIDE = ("accepted", "pending")

Sample = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through one series after the warm-up. `error` is the slope's own."""

    name: str
    mean: float
    least: float
    most: float
    slope: float
    error: float
    start: float
    seconds: float

    @property
    def flat(self) -> bool:
        """Whether it grows by so little that it is within the bounds."""
        allowed = GROWTH * self.mean
        if self.name not in UNITS:
            allowed = max(allowed, COUNTS)
        if self.name == "resident" and self.seconds >= HOUR:
            allowed = min(allowed, MEMORY * self.seconds / HOUR)
        sure = self.slope - 2 * self.error  # what a sawtooth's phase does not explain
        return max(0.0, sure) * self.seconds <= allowed

    def line(self) -> str:
        """What is told of it."""
        unit = UNITS.get(self.name, "")
        scale, shown = (1e6, "MB") if unit else (1.0, "")
        return (
            f"{self.name:<12} mean {self.mean / scale:,.2f} {shown}"
            f" ({self.least / scale:,.2f} to {self.most / scale:,.2f}),"
            f" slope {self.slope * HOUR / scale:+,.3f} ± {self.error * HOUR / scale:,.3f}"
            f" {shown}/h over {self.seconds / 60:.1f} min: {'flat' if self.flat else 'NOT FLAT'}"
        )


def trend(name: str, samples: Sequence[Sample]) -> Trend:
    """The least-squares line through a series; at least three samples after the warm-up."""
    begin, end = samples[0]["seconds"], samples[-1]["seconds"]
    kept = [each for each in samples if each["seconds"] >= begin + WARM_UP * (end - begin)]
    if len(kept) < 3:
        raise ValueError(f"{len(kept)} samples of {name} after the warm-up: three are needed")
    times, values = [each["seconds"] for each in kept], [each[name] for each in kept]
    middle, mean = fmean(times), fmean(values)
    spread = sum((at - middle) ** 2 for at in times)
    pairs = list(zip(times, values, strict=True))
    slope = sum((at - middle) * (value - mean) for at, value in pairs) / spread
    rest = sum((value - mean - slope * (at - middle)) ** 2 for at, value in pairs)
    return Trend(
        name=name,
        mean=mean,
        least=min(values),
        most=max(values),
        slope=slope,
        error=math.sqrt(rest / (len(kept) - 2) / spread),
        start=mean - slope * (middle - times[0]),
        seconds=times[-1] - times[0],
    )


def write_csv(path: Path, samples: Sequence[Sample]) -> None:
    """One line a sample."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        columns = ("seconds", *COLUMNS, *BESIDE)
        writer.writerow(columns)
        for sample in samples:
            writer.writerow([f"{sample[name]:.10g}" for name in columns])
