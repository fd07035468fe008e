"""What the table's first line says about the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from benchmarks.model import Machine


def describe_machine(versions: Mapping[str, str]) -> Machine:
    memory = os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        cores=os.cpu_count() or 1,
        memory_gib=memory,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        load=os.getloadavg()[0],
        versions=dict(versions),
    )
