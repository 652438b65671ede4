"""Draws docs/pace.svg, how the pace follows a quota that changes: `make pictures`.

The job is real, its clock is not: the pace of the core against a simulated quota of 80 requests a second (a sliding window
of 5 seconds), which falls to a quarter at 30 s and is back at 60 s.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "shared")]

from tests.core.exchange.support_servers import Job, Sliding, run  # noqa: E402 - the path comes first

PICTURE: Final = ROOT / "docs" / "pace.svg"
WIDTH, HEIGHT, LEFT, BOTTOM = 760, 300, 50, 40
SECONDS, MOST = 90, 120


def job() -> Job:
    return run(Sliding(400), 5000, changes=((30.0, 100), (60.0, 400)))


def x(seconds: float) -> float:
    return LEFT + seconds / SECONDS * (WIDTH - LEFT - 10)


def y(per_second: float) -> float:
    return HEIGHT - BOTTOM - min(per_second, MOST) / MOST * (HEIGHT - BOTTOM - 20)


def path(points: list[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)


def draw(done: Job) -> str:
    speeds = [(second + 0.5, float(done.between(second, second + 1))) for second in range(SECONDS)]
    quota = [(0.0, 80.0), (30.0, 80.0), (30.0, 20.0), (60.0, 20.0), (60.0, 80.0), (float(SECONDS), 80.0)]
    ticks = "".join(
        f'<text x="{x(at):.0f}" y="{HEIGHT - 22}" text-anchor="middle">{at} s</text>'
        for at in range(0, SECONDS + 1, 15)
    )
    ticks += "".join(
        f'<text x="{LEFT - 8}" y="{y(value) + 4:.0f}" text-anchor="end">{value}</text>'
        for value in (0, 20, 80, MOST)
    )
    marks = "".join(
        f'<circle cx="{x(at):.1f}" cy="{HEIGHT - BOTTOM}" r="2.5"/>' for at in done.refused if at < SECONDS
    )
    refused = sum(at < SECONDS for at in done.refused)
    answered = done.between(0, SECONDS)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
        f"<title>Answers per second under a quota that falls to a quarter and comes back</title>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><g fill="#555">{ticks}</g>'
        f'<path d="{path(quota)}" fill="none" stroke="#999" stroke-width="2" stroke-dasharray="6 4"/>'
        f'<path d="{path(speeds)}" fill="none" stroke="#2563eb" stroke-width="2"/><g fill="#dc2626">{marks}</g>'
        f'<text x="{LEFT}" y="14" fill="#333">answers per second (blue), the quota (dashed), refusals (red): '
        f"{answered:,} answers, {refused} refused</text></svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(job()), encoding="utf-8")
