"""What notebooks and applications use of streamgauge, under one name: `import streamgauge`.

Tables are pandas DataFrames; for the rest, each docstring says what is taken and given. A name is imported
when it is first used, so that the package itself costs nothing and a notebook that reads SLIs loads no
forecasts.

The names stand in `__init__.pyi`, for type checkers and for this module alike (as SPEC 1 of Scientific Python
has it). What is not listed there may change without notice.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any


def _modules() -> dict[str, str]:
    """Each name's module, by the imports of the stub."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom))
    return {each.name: str(node.module) for node in imports for each in node.names}


_MODULE_OF = _modules()

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
