"""`detectors.security` of a configuration: which columns name entities and describe their requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import Field as Key
from pydantic import SecretStr, field_validator

from streams.config.values import Condition, PositiveDuration, Texts
from streams.decode.format import Role
from streams.language.yaml.validation import Model, reject

ENTITIES: Sequence[Role] = ("client", "user", "api_key", "session")
"""Columns whose values are entities, in the order of their rollups."""

COLUMNS: Sequence[Role] = (*ENTITIES, "path", "query", "method", "status", "bytes", "agent")
"""All columns that an entry may name."""

LOGIN_PATHS = r"(.*[/._-])?(log-?in|log-?on|sign-?in|authenticate)([/._-].*)?"
"""Last words of paths to which credentials are sent, in lower case; a name and a whole part of the path."""


class SecurityEntry(Model):
    """One source whose entities are watched. A column that is not named has the format's own name.

    prefix       : judge the /24 or /48 of a client's address too
    login        : requests that try to log in
    failed_login : those among all requests that failed to
    false_alarms_per_series_per_week : of the forest, for an entity that is active all the time
    limit        : entities a 10 s bucket of a partition may hold, per kind, before the rest folds
    forget       : how long an entity may be silent before it is forgotten and, when it returns, new
    pseudonymise : a secret; addresses, users, keys and sessions then go by keyed hashes everywhere
    sigma        : files with Sigma rules, relative to the configuration, with wildcards
    """

    source: Annotated[str, Key(min_length=1)]
    where: Condition | None = None
    client: str | None = None
    user: str | None = None
    api_key: str | None = None
    session: str | None = None
    path: str | None = None
    query: str | None = None
    method: str | None = None
    status: str | None = None
    bytes: str | None = None
    agent: str | None = None
    prefix: bool = True
    login: Condition | None = None
    failed_login: Condition | None = None
    false_alarms_per_series_per_week: Annotated[float, Key(gt=0, le=100)] = 0.1
    limit: Annotated[int, Key(ge=1, le=1_000_000)] = 20_000
    forget: PositiveDuration = Key(default=timedelta(days=1), validate_default=True)
    pseudonymise: SecretStr | None = None
    sigma: Texts = ()

    @field_validator("pseudonymise")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not 16 <= len(value.get_secret_value().encode()) <= 64:
            reject("a secret of 16 to 64 bytes", "openssl rand -hex 24 makes one; take it from ${VARIABLE}")
        return value

    def columns(self, roles: Mapping[Role, str]) -> dict[str, str]:
        """Where each kind of column is found; `roles` are those that the format's own columns play."""
        found = {name: getattr(self, name) or roles.get(name) for name in COLUMNS}
        return {name: column for name, column in found.items() if column is not None}
