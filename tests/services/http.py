"""Plain HTTP to a server on loopback, never through a proxy."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get_text(
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
) -> str:
    """Return the body of a GET; raise urllib.error.HTTPError for an answer of 400 and above."""
    query = f"?{urllib.parse.urlencode(params)}" if params else ""
    request = urllib.request.Request(url + query, headers=dict(headers or {}))
    with _opener.open(request, timeout=timeout_s) as response:
        body: bytes = response.read()
        return body.decode()


def get_json(url: str, *, params: Mapping[str, str] | None = None, timeout_s: float = 10.0) -> Any:
    return json.loads(get_text(url, params=params, timeout_s=timeout_s))


def answers(url: str) -> bool:
    """Tell whether a GET of `url` gives an answer below 400."""
    try:
        get_text(url, timeout_s=2.0)
    except (OSError, urllib.error.URLError):
        return False
    return True
