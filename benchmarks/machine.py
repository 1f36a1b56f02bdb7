"""On what a benchmark ran: said at the head of each result."""

import os
import platform
from importlib import metadata
from pathlib import Path


def processor() -> str:
    """The CPU's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine(*packages: str) -> str:
    """CPU, cores, load, and versions of Python and ``packages``."""
    versions = [f"Python {platform.python_version()}", *(f"{name} {metadata.version(name)}" for name in packages)]
    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{processor()}, {load}; {platform.system()} {platform.release()}, {', '.join(versions)}"
