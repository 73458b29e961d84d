"""What a run comes to: rounds kept or thrown away, figures with their limits and floors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

DRIFT = 0.15  # a round is thrown away when bare-before and bare-after differ by more
PATIENCE = 3  # rounds tried, at most, for each one wanted

Values = Mapping[str, float]


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest-rank percentile; ValueError for no values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values: a percentile needs one")
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def drift(before: float, after: float) -> float:
    """How far two readings of the same bare thing lie apart, as a share of the larger."""
    return abs(before - after) / max(before, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """The rounds of one scenario. `noisy`: none was quiet, so that all of them are shown."""

    kept: Sequence[Values]
    thrown: Sequence[Values]
    noisy: bool

    def of(self, name: str) -> list[float]:
        """One value over the kept rounds."""
        return [values[name] for values in self.kept]

    def ratio(self, over: str, under: str) -> list[float]:
        """The ratio of two values, round by round."""
        return [values[over] / values[under] for values in self.kept]


def interleaved(
    wanted: int, bare: Callable[[], float], measure: Callable[[], dict[str, float]]
) -> Rounds:
    """Bare, measured, bare, measured, bare …, until `wanted` rounds were quiet.

    A round's `bare` is the mean of the readings before and after it. At most PATIENCE times
    `wanted` rounds are run.
    """
    kept: list[Values] = []
    thrown: list[Values] = []
    before = bare()
    for _ in range(wanted * PATIENCE):
        values = measure()
        after = bare()
        values |= {"bare": (before + after) / 2, "drift": drift(before, after)}
        (kept if values["drift"] <= DRIFT else thrown).append(values)
        before = after
        if len(kept) == wanted:
            break
    return Rounds(kept=kept or thrown, thrown=thrown if kept else [], noisy=not kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    `floor` judges the ratio where `least` is given, the value where `most` is; neither: it is
    shown for orientation. `rounds` are the values of the kept rounds, `limits` those of the
    limit; `taken_in` has all that was read in them.
    """

    name: str
    unit: str
    rounds: Sequence[float]
    limit_name: str = ""
    limits: Sequence[float] = ()
    ratios: Sequence[float] = ()
    least: float | None = None
    most: float | None = None
    taken_in: Rounds | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return median(self.rounds)

    @property
    def ok(self) -> bool | None:
        """Whether the floor is kept; None where there is none."""
        if self.least is not None:
            return median(self.ratios) >= self.least
        if self.most is not None:
            return self.value <= self.most
        return None

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        return {**asdict(self), "value": self.value, "ok": self.ok}


@dataclass(slots=True)
class Table:
    """The figures in the order they were taken."""

    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        """Keep one and print its line at once: a run is long."""
        if not self.figures:
            print(HEADING)
        self.figures.append(figure)
        print(line(figure), flush=True)


WIDTHS = (44, 20, 27, 19, 9)
COLUMNS = ("figure", "median (range)", "limit", "ratio (range)", "floor")


def _row(cells: Sequence[str], end: str) -> str:
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)) + end


HEADING = _row(COLUMNS, " ok")


def number(value: float) -> str:
    """Three digits that matter, thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))} to {number(max(values))})"


def line(figure: Figure) -> str:
    """One line of the table."""
    limit = ""
    if figure.limits:
        limit = f"{number(median(figure.limits))} {figure.limit_name}"
    floor = ""
    if figure.least is not None:
        floor = f"≥ {figure.least:g}"
    elif figure.most is not None:
        floor = f"≤ {figure.most:g}"
    verdict = {True: "ok", False: "MISSED", None: "·"}[figure.ok]
    remarks = [figure.note] if figure.note else []
    if figure.taken_in is not None and figure.taken_in.noisy:
        remarks.append("no quiet round: all are shown")
    elif figure.taken_in is not None and figure.taken_in.thrown:
        remarks.append(f"{len(figure.taken_in.thrown)} noisy rounds thrown away")
    ratio = spread(figure.ratios) if figure.ratios else ""
    cells = (f"{figure.name}, {figure.unit}", spread(figure.rounds), limit, ratio, floor)
    return _row(cells, f" {verdict}" + (f"  [{'; '.join(remarks)}]" if remarks else ""))
