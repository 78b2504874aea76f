"""The shape of `streamgauge.yaml`. Unknown keys are mistakes; lengths of time are `timedelta`s.

Secrets are `SecretStr`, so that neither a log nor a message shows them by accident.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic import Field as Key

from streams.config.capacity import CapacityEntries
from streams.config.detectors import Detectors
from streams.config.incidents import Incidents
from streams.config.sinks import Sinks
from streams.config.values import (
    Addresses,
    Condition,
    Duration,
    Instant,
    PositiveDuration,
    Texts,
    TokenAddress,
    WebAddress,
    Window,
    choice,
)
from streams.decode.format import Schema, Signal
from streams.decode.registry import FormatError, find_format
from streams.language.problems import Problem, one_of
from streams.language.yaml.documents import Document
from streams.language.yaml.documents import Path as Place
from streams.language.yaml.validation import Model, reject, reject_key

UNITS: Mapping[str, float] = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3_600.0,
    "d": 86_400.0,
    "bytes": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "percent": 0.01,
    "ratio": 1.0,
}
"""Factors to the base unit: seconds, bytes, ratio."""

TIME_FORMATS = ("auto", "iso8601", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "record")
"""Formats of event times, besides strftime patterns."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        reject("a name of letters, digits, ., _ and -, at most 100")
    return value


Name = Annotated[str, AfterValidator(_name)]
"""A name that may become part of a topic's name."""


def _topic(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value):
        reject("a topic's name of letters, digits, ., _ and -, at most 249")
    return value


class Security(Model):
    """How the broker is spoken to. Files are relative to the configuration."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: SecretStr | None = None
    token_endpoint: TokenAddress | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    scope: str | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Security:
        sasl = self.protocol.startswith("SASL_")
        if sasl and self.mechanism is None:
            reject_key("mechanism", f"a mechanism for {self.protocol}", "SCRAM-SHA-512 is a usual one")
        if self.mechanism is not None and not sasl:
            reject_key("protocol", f"SASL_SSL or SASL_PLAINTEXT, as mechanism {self.mechanism} needs")
        needed = {
            None: (),
            "OAUTHBEARER": ("token_endpoint", "client_id", "client_secret"),
        }.get(self.mechanism, ("username", "password"))
        for key in needed:
            if not getattr(self, key):
                reject_key(key, f"a value that mechanism {self.mechanism} needs")
        if (self.cert_file is None) != (self.key_file is None):
            lacking = "cert_file" if self.cert_file is None else "key_file"
            reject_key(lacking, "cert_file and key_file together")
        return self


class Broker(Model):
    """The Kafka cluster, and what is asked of it.

    idempotence : off for Kafka-compatible brokers that have no idempotent producers
    """

    bootstrap: Annotated[Addresses, Key(min_length=1)] = ("127.0.0.1:9092",)
    security: Security = Security()
    start_at: Literal["earliest", "latest"] = "earliest"
    session_timeout: PositiveDuration = Key(default="10s", validate_default=True)
    heartbeat_interval: PositiveDuration = Key(default="3s", validate_default=True)
    partitions: Annotated[int, Key(ge=1, le=10_000)] = 8
    replication: Annotated[int, Key(ge=1, le=100)] = 1
    idempotence: bool = True

    @model_validator(mode="after")
    def _heartbeat_fits(self) -> Broker:
        if self.heartbeat_interval * 3 > self.session_timeout:
            reject_key("heartbeat_interval", "at most a third of session_timeout, so that one may get lost")
        return self


class TimeField(Model):
    """Where the event time stands; `ts` alone means `{field: ts}`."""

    field: str | None = None
    format: str = "auto"

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        return {"field": value} if isinstance(value, str) else value

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        return value if "%" in value else choice(value, TIME_FORMATS)


class FieldPath(Model):
    """Where a column is found; `http.status` alone means `{path: http.status}`."""

    path: Annotated[str, Key(min_length=1)]
    unit: str = "ratio"

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("unit")
    @classmethod
    def _known(cls, value: str) -> str:
        return choice(value, tuple(UNITS))

    @property
    def scale(self) -> float:
        """Factor to the base unit."""
        return UNITS[self.unit]


class Source(Model):
    """A topic of events."""

    topic: Annotated[str, AfterValidator(_topic)]
    format: str
    signal: Signal | None = None
    time: TimeField = TimeField()
    fields: Mapping[str, FieldPath] = Key(default_factory=dict)
    where: Condition | None = None
    series: Texts = ()
    error: Condition | None = None
    duration: str | None = None
    distinct: Texts = ()
    windows: Annotated[tuple[Window, ...], Key(min_length=1, validate_default=True)] = Key(
        default=("5m",), validate_default=True
    )
    histogram: tuple[float, ...] = ()
    lateness: Duration = Key(default="60s", validate_default=True)
    future: Duration = Key(default="5m", validate_default=True)
    idle: PositiveDuration = Key(default="30s", validate_default=True)
    counters: Texts | None = None
    trace_id: str | None = None

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            find_format(value)
        except FormatError as error:
            reject(error.expected, error.suggestion)
        return value

    @field_validator("histogram")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in pairwise(value)):
            reject("bounds in ascending order")
        return value

    @model_validator(mode="after")
    def _belongs_together(self) -> Source:
        signals = find_format(self.format).signals
        if signals and self.signal is None:
            reject_key("signal", f"metrics, logs or spans, as format {self.format} needs")
        if self.signal is not None and not signals:
            reject_key("signal", f"no signal for format {self.format}", "only OTLP has signals; remove it")
        if self.histogram and self.duration is None:
            reject_key("duration", "the column whose histogram is asked for")
        return self

    @model_validator(mode="after")
    def _time_fits(self) -> Source:
        """Formats with a place of their own for the time need no field, and some take none."""
        time, allowed = self.time, find_format(self.format).time
        own = time.format in ("auto", "record")
        if not allowed.known and time.field is None and not own:
            reject_key(("time", "field"), f"the path of the time that is in format {time.format}")
        misplaced = allowed.fields is not None and time.field is not None and time.field not in allowed.fields
        misread = allowed.formats is not None and not own and time.format not in allowed.formats
        if misplaced or (misread and not allowed.formats):
            reject_key("time", allowed.expected, "remove it")
        if misread:
            reject_key(("time", "format"), one_of(("auto", "record", *(allowed.formats or ()))))
        return self

    @property
    def event_schema(self) -> Schema:
        """The columns that the format makes of the events."""
        return find_format(self.format).schema_of(self.signal)


class Limits(Model):
    """Bounds of memory."""

    series: Annotated[int, Key(ge=1)] = 100_000


class TierEntry(Model):
    """One pair of windows of a burn-rate alert.

    factor : burn rate, the same for SLOs of every window
    budget : share of the budget that the long window may use up; the factor then follows from the
             SLO's window, as in the SRE Workbook
    """

    severity: Annotated[str, Key(min_length=1)]
    long: Window
    short: Window
    factor: Annotated[float, Key(gt=0)] | None = None
    budget: Annotated[float, Key(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> TierEntry:
        if (self.factor is None) == (self.budget is None):
            reject_key("factor", "either factor (a burn rate) or budget (a share of the budget)")
        if self.short >= self.long:
            reject_key("short", "a window shorter than long")
        return self


class Alerting(Model):
    """When to alert. `tiers` replaces the SRE Workbook's; an empty list turns burn-rate alerts off."""

    confidence: Annotated[float, Key(ge=0, lt=1)] = 0.95
    missing_after: PositiveDuration = Key(default="5m", validate_default=True)
    tiers: tuple[TierEntry, ...] | None = None


class MaintenanceEntry(Model):
    """A planned interval; it may lie in the past. Without services it holds for all."""

    start: Instant = Key(alias="from")
    end: Instant = Key(alias="to")
    services: Texts = ()

    @model_validator(mode="after")
    def _in_order(self) -> MaintenanceEntry:
        if self.start >= self.end:
            reject_key("to", "a time after from")
        return self


TOKEN_LENGTH_MIN = 16


class Web(Model):
    """Where `/metrics` and the pages are served, and to whom.

    url    : the address under which people reach the pages, for links in alerts; by default host and port
    hosts  : names under which clients reach it; any if empty, unless `host` is this machine alone
    token  : needed for the live page and `/api`
    public : page and `/api` are for whoever reaches the port
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Key(ge=0, le=65_535)] = 9464
    url: WebAddress | None = None
    hosts: Texts = ()
    token: SecretStr | None = None
    public: bool = False

    @model_validator(mode="after")
    def _guarded_one_way(self) -> Web:
        if self.token is not None and self.public:
            reject_key("public", "either a token or public: true")
        if self.token is not None and len(self.token.get_secret_value()) < TOKEN_LENGTH_MIN:
            reject_key("token", f"at least {TOKEN_LENGTH_MIN} characters", "openssl rand -hex 32 makes one")
        return self

    def address(self, hostname: str) -> str:
        """The address for links, without a slash at its end.

        hostname : this machine's name, which takes the place of a host that means every interface
        """
        if self.url is not None:
            return self.url.rstrip("/")
        host = hostname if self.host in ("", "0.0.0.0", "::") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class Models(Model):
    """Trained models of detectors.

    url     : of the registry, a folder relative to the configuration or any address that fsspec knows
    retrain : `drift` trains a shadow where features have shifted since training
    """

    url: str | None = None
    retrain: Literal["drift", "never"] = "never"

    @model_validator(mode="after")
    def _has_a_place(self) -> Models:
        if self.retrain != "never" and self.url is None:
            reject_key("url", "the registry that new models are put into")
        return self


class Config(Model):
    """A whole configuration. `slos` are OpenSLO files, relative to this file, with wildcards."""

    app: Name = "streamgauge"
    broker: Broker = Broker()
    sources: Mapping[Name, Source]
    limits: Limits = Limits()
    slos: Texts = ()
    alerting: Alerting = Alerting()
    detectors: Detectors = Detectors()
    incidents: Incidents = Incidents()
    models: Models = Models()
    capacity: CapacityEntries = ()
    maintenance: tuple[MaintenanceEntry, ...] = ()
    sinks: Sinks = Sinks()
    web: Web = Web()

    _path: Path = PrivateAttr(default=Path("streamgauge.yaml"))
    _document: Document = PrivateAttr(default_factory=lambda: Document("streamgauge.yaml", {}, {}))

    @field_validator("sources")
    @classmethod
    def _some(cls, value: Mapping[str, Source]) -> Mapping[str, Source]:
        return value or reject("at least one source")

    @property
    def path(self) -> Path:
        """The file that this was read from."""
        return self._path

    @property
    def document(self) -> Document:
        """The YAML it was read from, which knows the line of every value."""
        return self._document

    def mistake(self, place: Place, expected: str, suggestion: str = "") -> Problem:
        """An error at a place of the configuration: what was expected there, and what was found."""
        return self._document.problem(place, expected, self._document.show(place), suggestion)

    def resolve(self, path: Path | str) -> Path:
        """A path of the configuration, which is relative to its file."""
        return self._path.parent / path

    def registry_url(self) -> str | None:
        """The address of the registry of models, a folder made absolute; None where none is named."""
        url = self.models.url
        return url if url is None or "://" in url else str(self.resolve(url))

    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with anything but secrets."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()[:16]
