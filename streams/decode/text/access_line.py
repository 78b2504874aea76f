"""The lines of access logs: cutting them into raw parts, and what the parts mean.

Formats: NCSA common and combined as nginx and Apache write them, with any of: a virtual host in front,
ISO times, further quoted fields, `key=value` pairs, a bare request time (and upstream time) at the end,
the whole line in quotes (as it is, doubled as in CSV, or escaped as a JSON string).
Guarantee: garbage where the request should be is no error, the line then has neither method nor path.
Sources: Apache `mod_log_config` (`%b` writes `-` for no bytes, `%D` microseconds, escapes `\\"` and
`\\xhh`), nginx `ngx_http_log_module` (escapes `\\xHH`, `$request_time` in seconds with milliseconds).
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import NamedTuple

_STATUS = "[0-9]{3}|-"
_SIZE = "[0-9]++|-"
_QUOTED = r'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+'
"""A quoted part; possessive here and below, since giving characters back could never help a match."""

PARTS = ("host", "client", "user", "time", "request", "status", "bytes", "referrer", "agent", "rest")
"""Raw parts of a line, in the order in which they stand there."""


class Line(NamedTuple):
    """Raw parts of one line; empty where the line has no such part."""

    host: str
    client: str
    user: str
    time: str
    request: str
    status: str
    bytes: str
    referrer: str
    agent: str
    rest: str


@cache
def bulk_pattern(wanted: frozenset[str], with_host: bool) -> re.Pattern[str]:
    """A pattern whose `findall` over joined lines gives the wanted parts of each, in the order of PARTS.

    It matches whole lines only, so as many matches as lines mean that each line is one match.
    """

    def part(name: str, pattern: str) -> str:
        return f"({pattern})" if name in wanted else f"(?:{pattern})"

    word, quoted = r'[^ \t\n"]++', _QUOTED
    host, client = part("host", word if with_host else ""), part("client", word)
    # With a host in front, nobody's identd may answer, else a user's name of two words looks the same.
    front = rf"{host} (?!- ){client} -" if with_host else rf"{host}{client} [^ \n]++"
    user, time = part("user", r"[^ \n\[]++"), part("time", r"[^\]\n]++")
    request, status, size = part("request", quoted), part("status", _STATUS), part("bytes", _SIZE)
    referrer, agent, rest = part("referrer", quoted), part("agent", quoted), part("rest", r"[^\n]*+")
    # Nothing behind the bytes can make a line wrong, so what is not wanted there is not looked at.
    quoted_fields = rf'(?: "{referrer}" "{agent}")?' if wanted & {"referrer", "agent", "rest"} else ""
    return re.compile(
        rf'^"?{front} {user} \[{time}\] "{request}" {status} {size}'
        rf"{quoted_fields}(?![^ \"\r\n]){rest}$",
        re.MULTILINE,
    )


_LOOSE = re.compile(
    r'(?P<front>[^\[\n]*?) ?\[(?P<time>[^\]\n]+)\] "(?P<request>[^\n]*)" '
    rf"(?P<status>{_STATUS}) (?P<bytes>{_SIZE})"
    rf'(?: "(?P<referrer>{_QUOTED})" "(?P<agent>{_QUOTED})")?(?=[ "\r]|\Z)(?P<rest>[^\n]*)'
)
_ALL = frozenset(PARTS)
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+")


def cut(line: str) -> Line | None:
    """The raw parts of one line in any of the shapes that the module's text names, else None."""
    found = _cut_usual(line)
    if found is None and len(line) > 2 and line[0] == line[-1] == '"':
        try:
            inner = json.loads(line)
        except ValueError:
            inner = line[1:-1].replace('""', '"')
        found = _cut_usual(inner) or _cut_loosely(inner)
    return found or _cut_loosely(line)


def _cut_usual(line: str) -> Line | None:
    """The parts of a line that the patterns for whole chunks match, too."""
    for with_host in (False, True):
        match = bulk_pattern(_ALL, with_host).match(line)
        if match and match.end() == len(line):
            return Line(*(part or "" for part in match.groups()))
    return None


def _cut_loosely(line: str) -> Line | None:
    """The parts of a line with quotes inside the request, or with blanks in the user's name."""
    # what spans lines cannot match, which every `" ` of a long text would else find out anew
    match = None if "\n" in line else _LOOSE.fullmatch(line.removeprefix('"'))
    if match is None:
        return None
    front = match["front"].split(" ")
    host = ""
    if len(front) > 3 and (_ADDRESS.fullmatch(front[1]) or (front[2] == "-" and front[1] != "-")):
        host = front.pop(0)
    client, user = front[0], " ".join(front[2:])
    parts = {name: match[name] or "" for name in PARTS[3:]}
    return Line(host=host, client=client, user=user, **parts) if client else None


class Request(NamedTuple):
    """The parts of a request line; None where there is none."""

    method: str | None
    path: str | None
    query: str | None
    protocol: str | None


_REQUEST = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,31}+) ++(\S(?:.*\S)?) *+", re.DOTALL)
_PROTOCOL = re.compile(r"HTTP/[0-9](?:\.[0-9])?")
_USUAL_PROTOCOLS = frozenset(("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/3.0"))
_NO_REQUEST = Request(None, None, None, None)


def split_request(raw: str) -> Request:
    """Method, path, query and protocol of a request line.

    >>> split_request("GET /api/orders?page=7 HTTP/1.1")
    Request(method='GET', path='/api/orders', query='page=7', protocol='HTTP/1.1')
    >>> split_request("\\\\x16\\\\x03\\\\x01")
    Request(method=None, path=None, query=None, protocol=None)
    """
    words = raw.split(" ")
    method, target = words[0], words[1] if len(words) == 3 else ""
    if target and words[2] in _USUAL_PROTOCOLS and method.isalpha() and method.isascii():
        return Request(method, *split_target(target), words[2])
    match = _REQUEST.fullmatch(raw)
    if match is None:
        return _NO_REQUEST
    method, target, protocol = match[1], match[2], None
    before, _, last = target.rpartition(" ")
    if before and _PROTOCOL.fullmatch(last):
        target, protocol = before.rstrip(" "), last
    elif not (target.startswith(("/", "*", "http://", "https://")) or method == "CONNECT"):
        return _NO_REQUEST
    path, query = split_target(target)
    return Request(method, path, query, protocol)


def split_target(target: str) -> tuple[str | None, str | None]:
    """Path and query of a request's target."""
    path, mark, query = target.partition("?")
    return (unescape(path) or None), (unescape(query) if mark else None)


def text_or_missing(raw: str) -> str | None:
    """The text of a part; `-` and nothing mean that there is none."""
    return None if raw in ("", "-") else unescape(raw)


_ESCAPE = re.compile(rb'\\(?:x([0-9A-Fa-f]{2})|(["\\nrtbfv]))')
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def unescape(raw: str) -> str:
    """What the server escaped, as it was: `\\xHH` are bytes of UTF-8.

    >>> unescape("caf\\\\xC3\\\\xA9 \\\\x22x\\\\x22")
    'café "x"'
    """
    if "\\" not in raw:
        return raw
    return _ESCAPE.sub(_unescaped, raw.encode("utf-8", "replace")).decode("utf-8", "replace")


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes.fromhex(match[1].decode())
    return _LETTERS.get(match[2], match[2])


_TOKEN = re.compile(rf'([A-Za-z_][\w.-]*)[=:](?:"({_QUOTED})"|(\S*))|"({_QUOTED})"|(\S+)')
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{0,15})?)(us|µs|ms|s)?")
_SUFFIX_SECONDS = {"us": 1e6, "µs": 1e6, "ms": 1e3, "s": 1.0}
_DURATION_KEYS = frozenset(
    ("rt", "request_time", "req_time", "reqtime", "response_time", "duration", "time_taken", "latency")
)
_UPSTREAM_KEYS = frozenset(("urt", "upstream_response_time", "upstream_time", "upstream_duration"))
_HOST_KEYS = frozenset(("host", "vhost", "http_host", "server_name"))


class Extras(NamedTuple):
    """What stands behind the agent: times in seconds, the same as they are written, and a host."""

    duration: float | None
    upstream: float | None
    host: str | None
    raw_duration: float | None
    raw_upstream: float | None


_NO_EXTRAS = Extras(None, None, None, None, None)


def read_extras(rest: str) -> Extras:
    """Times and host of a line's end.

    The first bare number is the request's time, the second the upstream's: with a decimal point in
    seconds (nginx), without one in microseconds (Apache's `%D`).

    >>> read_extras(' "-" rt=0.003 uct="0.000" urt="0.004"')[:3]
    (0.003, 0.004, None)
    >>> read_extras(" 1500").duration
    0.0015
    """
    if not rest.strip(' "-\r'):
        return _NO_EXTRAS
    duration = upstream = host = None
    bare: list[str] = []
    if "=" not in rest and '"' not in rest:
        bare = [token for token in rest.split() if _AMOUNT.fullmatch(token)]
        tokens: list[tuple[str, ...]] = []
    else:
        tokens = _TOKEN.findall(rest)
    for key, quoted_value, plain_value, _, plain in tokens:
        if key:
            value, name = quoted_value or plain_value, key.lower()
            if name in _DURATION_KEYS:
                duration = duration or value
            elif name in _UPSTREAM_KEYS:
                upstream = upstream or value
            elif name in _HOST_KEYS:
                host = host or text_or_missing(value)
        elif plain and _AMOUNT.fullmatch(plain.rstrip('"')):
            bare.append(plain)
    whole_per_second = 1
    if duration is None and bare:
        duration, whole_per_second = bare.pop(0), 1_000_000
    if upstream is None and bare:
        upstream = bare[0]
    return Extras(
        None if duration is None else seconds(duration, whole_per_second=whole_per_second),
        None if upstream is None else seconds(upstream, whole_per_second=whole_per_second),
        host,
        None if duration is None else seconds(duration, raw=True),
        None if upstream is None else seconds(upstream, raw=True),
    )


def seconds(text: str, raw: bool = False, whole_per_second: float = 1) -> float | None:
    """A time as logs write it; the times of several upstreams (`0.001, 0.002 : 0.1`) are added up.

    >>> seconds("0.25, 0.5"), seconds("12ms"), seconds("-")
    (0.75, 0.012, None)
    """
    total: float | None = None
    parts = (text,) if _AMOUNT.fullmatch(text) else re.split(r"[,:\s]+", text.strip().strip('"'))
    for part in parts:
        match = _AMOUNT.fullmatch(part)
        if match is None:
            continue
        amount = float(match[1])
        if not raw:
            per_second = _SUFFIX_SECONDS[match[2]] if match[2] else 1 if "." in match[1] else whole_per_second
            amount /= per_second
        total = amount if total is None else total + amount
    return total


def bulk(joined: str, count: int, wanted: frozenset[str]) -> list[tuple[str, ...]] | None:
    """The wanted parts of all lines, if all have the same usual shape.

    joined : `count` records, joined by newlines
    wanted : at least two parts
    """
    assert len(wanted) > 1
    for with_host in (False, True):
        pattern = bulk_pattern(wanted, with_host)
        if pattern.match(joined):
            found = pattern.findall(joined)
            if len(found) == count == joined.count("\n") + 1:
                return found
    return None
