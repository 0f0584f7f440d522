"""Makes the documentation's pictures in ``docs/images``, from a study that it runs: ``make screenshots``.

Plots come from ``pilotune plot``; the report and the dashboard are photographed in Chromium, the live view by Textual
as a picture of a terminal with 80 columns and 24 lines. Needs Chromium, and takes about a minute.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGES = Path(__file__).resolve().parent / "images"
PLOTS = ("history", "curves", "timeline", "importance")
STUDY = """\
name: curve
objective: pilotune.objectives.functions:learning_curve
direction: minimize
space:
  lr: {float: [1.0e-4, 1.0], log: true}
  width: {int: [16, 512], log: true}
  epochs: 27
  seconds: 0.05
sampler: {seed: 0}
pruner: {name: hyperband, min_resource: 3, max_resource: 27}
budget: {trials: 60}
"""


def main() -> int:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("error: there is no Chromium; on Debian: apt-get install chromium", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as name:
        folder = Path(name)
        os.environ |= {"XDG_STATE_HOME": str(folder / "state"), "PILOTUNE_RUNS": str(folder / "runs")}
        (folder / "curve.yaml").write_text(STUDY, encoding="utf-8")
        pilotune(folder, "run", "curve.yaml", "--set", "pools.local.workers_per_node=4", "--detach")
        live_view(folder, chromium)
        pilotune(folder, "watch", "curve", "--plain")
        for plot in PLOTS:
            pilotune(folder, "plot", "curve", plot, "-o", str(IMAGES / f"plot-{plot}.png"))
        pilotune(folder, "report", "curve", "-o", "report.html")
        photograph(chromium, (folder / "report.html").as_uri(), "report.png", 1100, 1400)
        dashboard(folder, chromium)
    for path in sorted(IMAGES.glob("*.png")):
        print(path.relative_to(IMAGES.parents[1]), f"{path.stat().st_size / 1e3:.0f} kB")
    return 0


def pilotune(folder: Path, *words: str) -> None:
    command = [str(Path(sys.executable).with_name("pilotune")), *words]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def live_view(folder: Path, chromium: str) -> None:
    """Photograph the live view of the campaign that runs."""
    from pilotune.pipeline.cli.following import choose_campaign
    from pilotune.pipeline.cli.live_view.app import WatchApp

    async def seen() -> str:
        app = WatchApp(*choose_campaign("curve"))
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause(6.0)
            return app.export_screenshot(title="pilotune watch curve")

    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", asyncio.run(seen()))  # fonts from a server; the browser has others
    (folder / "watch.svg").write_text(svg, encoding="utf-8")
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width, height = (round(float(side)) for side in box.groups()) if box else (1000, 700)
    photograph(chromium, (folder / "watch.svg").as_uri(), "watch.png", width, height)


def dashboard(folder: Path, chromium: str) -> None:
    """Photograph the dashboard."""
    command = [str(Path(sys.executable).with_name("pilotune")), "dashboard", "curve"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        photograph(chromium, url, "dashboard.png", 1400, 1000)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def photograph(chromium: str, url: str, name: str, width: int, height: int) -> None:
    """Write a picture of a page as a browser shows it."""
    options = ["--headless", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # as root Chromium has none
    picture = [f"--window-size={width},{height}", f"--screenshot={IMAGES / name}"]
    before = time.time()
    subprocess.run(
        [chromium, *options, *picture, url], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    if not (IMAGES / name).exists() or (IMAGES / name).stat().st_mtime < before - 1:
        raise RuntimeError(f"Chromium has made no picture of {name}")


if __name__ == "__main__":
    raise SystemExit(main())
