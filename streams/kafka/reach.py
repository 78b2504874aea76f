"""Whether a broker answers, and if not, why: it is away, or what answers is no broker for us.

A broker that is away may come back, so a worker waits for it. A wrong address, protocol or password stays
wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Mapping
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    UnsupportedSaslMechanismError,
)

__all__ = ["BrokerAwayError", "WrongBrokerError", "reach_broker", "wait_for_broker"]

logger = logging.getLogger(__name__)

ANSWER_S = (3.0, 10.0, 40.0)
"""How long the first, the second and all further attempts wait for an answer."""

SNIFF_S = 2.0

RETRY_S = 1.0
SAY_EVERY_S = 30.0

_NOT_CLIENT_SETTINGS = ("bootstrap_servers", "metadata_max_age_ms")


class BrokerAwayError(Exception):
    """No address answers; the text says why for each."""


class WrongBrokerError(Exception):
    """Something answers that will never let us in; the text says what, and what to do."""


async def wait_for_broker(client: Mapping[str, Any]) -> None:
    """Return once a broker answers, saying now and then that it does not.

    client : arguments of an aiokafka client
    Raises WrongBrokerError.
    """
    now = asyncio.get_running_loop().time
    attempt, said_s = 0, -SAY_EVERY_S
    while True:
        try:
            await reach_broker(client, answer_s=ANSWER_S[min(attempt, len(ANSWER_S) - 1)])
        except BrokerAwayError as error:
            if now() - said_s >= SAY_EVERY_S:
                said_s = now()
                logger.warning("Waiting for the broker: %s. Is broker.bootstrap right?", error)
        else:
            if attempt:
                logger.info("The broker answers")
            return
        attempt += 1
        await asyncio.sleep(RETRY_S)


async def reach_broker(client: Mapping[str, Any], *, answer_s: float = ANSWER_S[-1]) -> None:
    """Connect to one of the addresses as a client does.

    Raises WrongBrokerError, or BrokerAwayError where nothing answers.
    """
    settings = {name: value for name, value in client.items() if name not in _NOT_CLIENT_SETTINGS}
    away, wrong = [], []
    for address in client["bootstrap_servers"]:
        host, _, port = address.rpartition(":")
        try:
            connection = await create_conn(
                host.strip("[]"), int(port), request_timeout_ms=int(answer_s * 1000), **settings
            )
        except ssl.SSLCertVerificationError as error:
            wrong.append(f"{address}: {error.verify_message}; see broker.security.ca_file")
        except ssl.SSLError as error:
            wrong.append(f"{address} does not speak TLS ({error.reason}); see broker.security.protocol")
        except (AuthenticationFailedError, UnsupportedSaslMechanismError, IllegalSaslStateError) as error:
            wrong.append(f"{address}: {error}; see broker.security")
        except (KafkaError, OSError, TimeoutError) as error:
            other = await _other_than_asked(host.strip("[]"), int(port), client["security_protocol"])
            if other is not None:
                wrong.append(f"{address}: {other}")
            away.append(f"{address}: {_reason(error)}")
        else:
            connection.close()
            return
    if wrong:
        raise WrongBrokerError("; ".join(wrong))
    raise BrokerAwayError("; ".join(away))


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return str(error) or type(error).__name__


async def _other_than_asked(host: str, port: int, protocol: str) -> str | None:
    """What answers there, if it is not what the configuration says."""
    if protocol.endswith("SSL"):
        with contextlib.suppress(OSError, TimeoutError, KafkaError):
            (await create_conn(host, port, request_timeout_ms=int(SNIFF_S * 1000))).close()
            return "expected TLS, found a Kafka broker without; see broker.security.protocol"
        return None
    if found := await _first_words(host, port):
        kind = "an HTTP server" if found.startswith(b"HTTP/") else f"something that says {found!r}"
        if not found.startswith(b"\x15\x03"):  # an alert of TLS
            return f"expected a Kafka broker, found {kind}; broker.bootstrap names another port than its own"
    if found or await _speaks_tls(host, port):
        return f"expected {protocol}, found TLS; set broker.security.protocol to SSL or SASL_SSL"
    return None


async def _first_words(host: str, port: int) -> bytes:
    """What a server says of its own or to a browser; a Kafka broker hangs up."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(SNIFF_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                return await reader.read(40)
            finally:
                writer.close()
    return b""


async def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(SNIFF_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.close()
            return True
    return False
