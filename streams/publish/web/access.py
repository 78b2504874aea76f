"""Who may see what of a worker's web server, and what browsers are told about it.

`/metrics`, `/healthz` and `/readyz` are for machines and open, as those of other exporters are. The live page
and `/api` show single alerts, log lines and clients: to this machine's users, to those who know the token, or
to whoever reaches the port where the configuration says that the network is guarded.

A page of another site that has its name resolved to this address (DNS rebinding) is told from the others by
the `Host` that its browser sends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from streams.config.models import Web
from streams.config.values import is_loopback

__all__ = ["CLOSED", "Access", "guard", "page_policy"]

PROBES = ("/healthz", "/readyz")
OPEN = ("/metrics", *PROBES)
"""Paths that need no token; probes come with any `Host`, since their answer tells nothing."""

CLOSED = (
    "the live page and /api are closed, since other machines reach web.host; set web.token, "
    "or web.public: true where the network is guarded"
)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Access:
    """What the configuration says.

    hosts : names in the header `Host` beside this machine's own; empty means any
    token : None for none
    open  : page and API need no token
    """

    hosts: frozenset[str] = frozenset({"localhost"})
    token: str | None = None
    open: bool = True

    @classmethod
    def of(cls, settings: Web) -> Access:
        local = is_loopback(settings.host)
        hosts = frozenset(host.lower() for host in settings.hosts)
        if hosts or local:
            named = urlsplit(settings.url or "").hostname
            hosts |= {"localhost", *([named] if named else [])}
        token = settings.token.get_secret_value() if settings.token else None
        return cls(hosts, token, token is None and (local or settings.public))

    @property
    def closed(self) -> bool:
        """Whether nobody may see page and API."""
        return self.token is None and not self.open

    def knows_host(self, host: str) -> bool:
        """host : the header, with or without a port; empty where a client, no browser then, sends none"""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return not host or not self.hosts or name in self.hosts or is_loopback(name)

    def knows(self, authorization: str) -> bool:
        """authorization : the header, `Bearer TOKEN`, or `Basic` with the token as password of any user"""
        scheme, _, given = authorization.partition(" ")
        told = given.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() == "basic":
            try:
                told = base64.b64decode(told, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        return self.token is not None and hmac.compare_digest(told, self.token.encode())


def guard(application: web.Application, access: Access) -> None:
    """Let an application answer only what `access` allows, each answer with headers for browsers."""

    @web.middleware
    async def allow(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path not in PROBES and not access.knows_host(request.headers.get("Host", "")):
            raise web.HTTPMisdirectedRequest(
                text="this name is not one of the worker's; add it to web.hosts\n"
            )
        if request.path not in OPEN and not access.open:
            if access.closed:
                raise web.HTTPForbidden(text=f"{CLOSED}\n")
            if not access.knows(request.headers.get("Authorization", "")):
                raise web.HTTPUnauthorized(
                    text="web.token is needed: as a bearer token, or as the password of any user\n",
                    headers={"WWW-Authenticate": 'Basic realm="streamgauge", charset="UTF-8"'},
                )
        return await handler(request)

    async def tell(_request: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["Server"] = "streamgauge"  # no versions, which aiohttp would tell

    application.middlewares.append(allow)
    application.on_response_prepare.append(tell)


def page_policy(page: str) -> str:
    """The content security policy of a page that runs its own inline script and style, and nothing else."""
    sources: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        sources[kind].append(f"'sha256-{digest}'")
    allowed = "; ".join(f"{kind}-src {' '.join(hashes)}" for kind, hashes in sources.items())
    return (
        f"default-src 'none'; {allowed}; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
