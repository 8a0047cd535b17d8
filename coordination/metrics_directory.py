"""Where the processes of one host share their Prometheus figures.

``prometheus_client`` decides at its first import whether it is multi-process, so entry points call
``prepare`` before they import anything that imports ``coordination.metrics``.
"""

from __future__ import annotations

import os
from pathlib import Path

from coordination.settings import Settings

ENVIRONMENT_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare(settings: Settings) -> Path:
    """Create the directory, export it to this process and its children, and return it.

    Gauges that only count while their process lives are dropped for processes that are gone;
    counters and histograms of ended processes stay, or totals would fall.
    """
    chosen = settings.prometheus_multiproc_dir or settings.farmlokal_home / "metrics"
    directory = Path(os.environ.get(ENVIRONMENT_VARIABLE) or chosen).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    os.environ[ENVIRONMENT_VARIABLE] = str(directory)
    for file in directory.glob("gauge_live*_*.db"):
        if not _is_running(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)
    return directory


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
