"""Heavy libraries are imported by what needs them: a command that does not starts without them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("sigma", "sklearn", "statsmodels", "scipy")

RUN = """
import json, sys
from streams.cli import app
try:
    app(sys.argv[1:])
finally:
    print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] == name)), file=sys.stderr)
"""

CONFIG = """
sources:
  web: {topic: web, format: access_log}
detectors:
  traffic: [{source: web}]
  security: [{source: web SIGMA}]
"""

RULE = """
title: An admin's page
logsource: {category: webserver}
detection: {page: {path|startswith: /admin}, condition: page}
"""


def imported(*arguments: str) -> set[str]:
    """Packages that a command has imported when it ends."""
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def check(folder: Path, sigma: str = "") -> set[str]:
    path = folder / "streamgauge.yaml"
    path.write_text(CONFIG.replace(" SIGMA", sigma))
    return imported("check", str(path))


def test_help_imports_no_numbers() -> None:
    assert imported("--help").isdisjoint({*HEAVY, "numpy", "pandas", "faust"})


def test_check_imports_pysigma_for_sigma_rules_alone(tmp_path: Path) -> None:
    (tmp_path / "rule.yml").write_text(RULE)
    assert check(tmp_path).isdisjoint(HEAVY)
    assert "sigma" in check(tmp_path, ", sigma: rule.yml")


@pytest.mark.parametrize("name", ["access-log", "requests", "otlp"])
def test_check_of_examples_fits_no_model(name: str) -> None:
    root = Path(__file__).parents[2]
    assert imported("check", str(root / "examples" / f"{name}.yaml")).isdisjoint(HEAVY)
