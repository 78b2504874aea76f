"""Where the jars of the pinned Apache Kafka are: a cache folder that Maven fills once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.services.process import ServiceFailedError, exclusive, require_program

POM = Path(__file__).with_name("kafka") / "pom.xml"
CHECKOUT = Path(__file__).resolve().parents[2]


def kafka_version() -> str:
    """Read the pinned version from the POM, the only place that states it."""
    match = re.search(r"<kafka\.version>([\d.]+)</kafka\.version>", POM.read_text(encoding="utf-8"))
    assert match is not None, f"{POM} names no kafka.version"
    return match.group(1)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/streamgauge` where that is set, `.cache` in the checkout otherwise."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "streamgauge" if base else CHECKOUT / ".cache"


def kafka_jars() -> Path:
    """Return the folder with the jars; the first call has Maven resolve them (44 MB).

    Raises MissingServiceError without Maven, ServiceFailedError when it cannot resolve.
    """
    lib = cache_folder() / f"kafka-{kafka_version()}" / "lib"
    if lib.is_dir():
        return lib
    with exclusive(lib.parent / "lock"):
        if not lib.is_dir():
            _resolve(lib)
    return lib


def _resolve(lib: Path) -> None:
    # The plugin by its full name: its short one would be looked up in an index first.
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    maven = require_program("mvn", package="maven", purpose="A real Apache Kafka for the tests")
    # Filled beside its place and moved there whole: an interrupted download is never taken for all jars.
    with tempfile.TemporaryDirectory(dir=lib.parent) as scratch:
        target = Path(scratch) / "lib"
        command = [maven, "-q", "-B", "-f", str(POM), plugin]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={target}"],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode or not target.is_dir():
            raise ServiceFailedError(f"Maven could not resolve {POM}:\n{(done.stdout + done.stderr)[-3000:]}")
        shutil.move(target, lib)
