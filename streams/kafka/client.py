"""How the broker is reached, as the arguments that aiokafka's clients take.

Guarantee: secrets leave the configuration only here, into the client's arguments; nothing prints them.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import ssl
import time
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import aiokafka.client
from aiokafka.abc import AbstractTokenProvider
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.metadata import MetadataRequest

from streams.config.models import Config, Security

__all__ = ["TokenError", "TokenProvider", "client_arguments", "tls_context"]

# A client that asks about a topic has the broker make it, where `auto.create.topics.enable` is on: one that
# somebody has just deleted would be back with the broker's own number of partitions, and not compacted.
aiokafka.client.MetadataRequest = functools.partial(MetadataRequest, allow_auto_topic_creation=False)

METADATA_AGE_S = 10.0
"""A topic that grows, or is deleted and made anew, is noticed within this; by default it is 5 minutes."""

TOKEN_MARGIN_S = 30.0
"""A token this near its end is replaced, so that none expires on its way to the broker."""

TOKEN_TIMEOUT_S = 10.0


def client_arguments(config: Config) -> dict[str, Any]:
    """Arguments of an aiokafka consumer, producer or admin client: address and security."""
    security = config.broker.security
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(config.broker.bootstrap),
        "security_protocol": security.protocol,
        "metadata_max_age_ms": int(METADATA_AGE_S * 1000),
    }
    if security.protocol in ("SSL", "SASL_SSL"):
        arguments["ssl_context"] = tls_context(config)
    if security.mechanism is not None:
        arguments["sasl_mechanism"] = security.mechanism
    if security.mechanism == "OAUTHBEARER":
        arguments["sasl_oauth_token_provider"] = TokenProvider(security)
    elif security.mechanism is not None:
        arguments["sasl_plain_username"] = security.username
        arguments["sasl_plain_password"] = _revealed(security.password)
    return arguments


def tls_context(config: Config) -> ssl.SSLContext:
    """TLS with the authorities and the client's certificate that the configuration names."""
    security = config.broker.security

    def path(file: Any) -> str | None:
        return None if file is None else str(config.resolve(file))

    context: ssl.SSLContext = create_ssl_context(
        cafile=path(security.ca_file),
        certfile=path(security.cert_file),
        keyfile=path(security.key_file),
        password=_revealed(security.key_password),
    )
    return context


def _revealed(secret: Any) -> str | None:
    return None if secret is None else str(secret.get_secret_value())


class TokenError(Exception):
    """The token endpoint gave no token; the text names the endpoint and its answer, never the secret."""


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """Bearer tokens by OAuth's client-credentials grant (RFC 6749, section 4.4), kept until they expire."""

    def __init__(self, security: Security) -> None:
        self._security = security
        self._token = ""
        self._expires_s = 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """The current token, or a new one where it is about to expire."""
        async with self._lock:
            if time.monotonic() >= self._expires_s - TOKEN_MARGIN_S:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        endpoint = str(self._security.token_endpoint)
        form = {"grant_type": "client_credentials"}
        if self._security.scope:
            form["scope"] = self._security.scope
        # Both parts are form-encoded first (RFC 6749, section 2.3.1).
        pair = f"{quote_plus(str(self._security.client_id))}:{quote_plus(self._secret())}"
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"}
        timeout = aiohttp.ClientTimeout(total=TOKEN_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.post(endpoint, data=form, headers=headers, allow_redirects=False) as response,
            ):
                response.raise_for_status()
                answer = await response.json(content_type=None)
                self._token = str(answer["access_token"])
                self._expires_s = time.monotonic() + float(answer.get("expires_in", 300))
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise TokenError(
                f"{endpoint}: expected an access token, found {type(error).__name__}: {error}"
            ) from error

    def _secret(self) -> str:
        return _revealed(self._security.client_secret) or ""
