"""What the clients are told to reach the broker, and the tokens they are given."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from streams.config.load import load_config
from streams.config.models import Security
from streams.kafka.client import TokenError, TokenProvider, client_arguments

TOPIC = "sources: {requests: {topic: requests, format: json}}\n"


def arguments(tmp_path: Path, security: str) -> dict[str, object]:
    path = tmp_path / "streamgauge.yaml"
    path.write_text(f"broker: {{bootstrap: 'a:1,b:2', security: {security}}}\n{TOPIC}")
    return client_arguments(load_config(path, {"KAFKA_PASSWORD": "hunter2"}))


def test_plain_text_needs_no_more_than_the_addresses(tmp_path: Path) -> None:
    assert arguments(tmp_path, "{protocol: PLAINTEXT}") == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "PLAINTEXT",
        "metadata_max_age_ms": 10_000,
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_passwords_come_from_the_environment(tmp_path: Path, mechanism: str) -> None:
    given = arguments(
        tmp_path,
        f"{{protocol: SASL_SSL, mechanism: {mechanism}, username: user, password: '${{KAFKA_PASSWORD}}'}}",
    )
    context = given.pop("ssl_context")
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert given == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "metadata_max_age_ms": 10_000,
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "user",
        "sasl_plain_password": "hunter2",
    }


class Endpoint:
    """A token endpoint that counts what it was asked."""

    def __init__(self, answer: object, status: int = 200) -> None:
        self.answer, self.status = answer, status
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    async def __aenter__(self) -> Endpoint:
        application = web.Application()
        application.router.add_post("/token", self._give)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/token"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _give(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append((request.headers["Authorization"], form))
        return web.json_response(self.answer, status=self.status)


def provider(endpoint: Endpoint) -> TokenProvider:
    return TokenProvider(
        Security.model_validate(
            {
                "protocol": "SASL_SSL",
                "mechanism": "OAUTHBEARER",
                "token_endpoint": endpoint.url,
                "client_id": "gauge",
                "client_secret": "hunter2",
                "scope": "kafka",
            }
        )
    )


async def test_a_token_is_asked_for_once_while_it_lasts() -> None:
    async with Endpoint({"access_token": "abc", "expires_in": 3_600}) as endpoint:
        tokens = provider(endpoint)
        assert [await tokens.token() for _ in range(3)] == ["abc"] * 3
    expected = "Basic " + base64.b64encode(b"gauge:hunter2").decode()
    assert endpoint.asked == [(expected, {"grant_type": "client_credentials", "scope": "kafka"})]


async def test_a_token_about_to_expire_is_replaced() -> None:
    async with Endpoint({"access_token": "abc", "expires_in": 10}) as endpoint:
        tokens = provider(endpoint)
        assert await tokens.token() == await tokens.token() == "abc"
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("answer", "status"), [({"error": "invalid_client"}, 401), ({"token": "abc"}, 200), ([], 200)]
)
async def test_a_refusal_names_the_endpoint_and_not_the_secret(answer: object, status: int) -> None:
    async with Endpoint(answer, status) as endpoint:
        with pytest.raises(TokenError, match="expected an access token") as caught:
            await provider(endpoint).token()
    assert endpoint.url in str(caught.value)
    assert "hunter2" not in str(caught.value)
