"""The series of one long life as an SVG: one panel each, with the line that its slope is."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from chaos.samples import Sample, Trend

WIDTH, PANEL, MARGIN = 900, 130, 40
STYLE = "text{font:12px sans-serif}.s{fill:none;stroke:#2563eb}.t{stroke:#dc2626}.a{stroke:#999}"


def write_svg(path: Path, title: str, samples: Sequence[Sample], trends: Sequence[Trend]) -> None:
    """Draw every trend's series."""
    height = MARGIN + len(trends) * (PANEL + MARGIN)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<text x="{MARGIN}" y="20">{escape(title)}</text>',
    ]
    for place, trend in enumerate(trends):
        lines += _panel(MARGIN + place * (PANEL + MARGIN), samples, trend)
    path.write_text("\n".join([*lines, "</svg>"]) + "\n")


def _panel(top: int, samples: Sequence[Sample], trend: Trend) -> Iterator[str]:
    first, last = samples[0]["seconds"], samples[-1]["seconds"]
    most = max(*(sample[trend.name] for sample in samples), trend.most, 1.0) * 1.05

    def at(seconds: float, value: float) -> tuple[float, float]:
        x = MARGIN + (seconds - first) / max(last - first, 1e-9) * (WIDTH - 2 * MARGIN)
        return round(x, 1), round(top + PANEL - value / most * (PANEL - MARGIN / 2), 1)

    points = " ".join("{},{}".format(*at(s["seconds"], s[trend.name])) for s in samples)
    x1, y1 = at(last - trend.seconds, trend.start)
    x2, y2 = at(last, trend.start + trend.slope * trend.seconds)
    base = top + PANEL
    yield f'<text x="{MARGIN}" y="{top + 10}">{escape(trend.line())}</text>'
    yield f'<line class="a" x1="{MARGIN}" y1="{base}" x2="{WIDTH - MARGIN}" y2="{base}"/>'
    yield f'<polyline class="s" points="{points}"/>'
    yield f'<line class="t" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'
