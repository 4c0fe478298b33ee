"""How to reach the Kafka cluster: addresses, TLS, SASL. Secrets are never printed.

Whether the files are there is asked when a connection is made (`connect`), not here: a config is also checked and
replayed on machines that have no certificates.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

SERVER = re.compile(r"^(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\],]+):(?P<port>\d{1,5})$")


class KafkaSettings(BaseModel):
    """One cluster: one transaction spans inputs, state and outputs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = Field("localhost:9092", description="host:port, several separated by commas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="whether the connection is encrypted (SSL) and asks for a password (SASL)"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="how the password is proven; only with a SASL_ protocol"
    )
    sasl_username: str | None = Field(None, min_length=1, description="who we are, with SASL")
    sasl_password: SecretStr | None = Field(
        None, min_length=1, description="best as ${VARIABLE}; never printed"
    )
    ssl_ca: str | None = Field(
        None, description="path of the PEM file with the authorities to trust; default: the system's"
    )
    ssl_cert: str | None = Field(None, description="path of the PEM file with our certificate (mutual TLS)")
    ssl_key: str | None = Field(None, description="path of the PEM file with our key, if not in ssl_cert")
    ssl_key_password: SecretStr | None = Field(None, description="if our key is encrypted; never printed")
    ssl_check_hostname: bool = Field(True, description="the broker's certificate must be for the host asked")
    session_timeout_ms: int = Field(10_000, ge=1_000, description="a silent worker is replaced after so long")
    replication_factor: int = Field(
        -1, description="of own topics when they are created; -1 = the broker's default"
    )
    create_topics: bool = Field(
        True, description="create own topics (alerts, dead letters, state, control) if missing"
    )

    @property
    def sasl(self) -> bool:
        return self.security_protocol.startswith("SASL_")

    @property
    def tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    @property
    def servers(self) -> list[str]:
        return [server.strip() for server in self.bootstrap_servers.split(",")]

    @property
    def principal(self) -> str:
        """Whom the broker takes us for, as `kafka-acls.sh` wants it."""
        if self.sasl:
            return f"User:{self.sasl_username}"
        return "User:<subject of ssl_cert>" if self.ssl_cert else "User:ANONYMOUS"

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for server in value.split(","):
            match = SERVER.match(server.strip())
            if match is None or not 0 < int(match["port"]) < 65536:
                raise ValueError(
                    f"expected host:port, several separated by commas; {server.strip()!r} is none"
                )
        return value

    @field_validator("replication_factor")
    @classmethod
    def _replicas(cls, value: int) -> int:
        if value != -1 and not 1 <= value <= 32767:
            raise ValueError(f"expected 1 or more, or -1 for the broker's default; got {value}")
        return value

    @field_validator("sasl_password", "ssl_key_password")
    @classmethod
    def _one_line(cls, value: SecretStr | None) -> SecretStr | None:
        # The text of the error must not hold the value.
        if value is not None and value.get_secret_value().strip("\r\n") != value.get_secret_value():
            raise ValueError("begins or ends with a line break (from a file?): remove it")
        return value

    @model_validator(mode="after")
    def _together(self) -> KafkaSettings:
        problems = []
        given = [name for name in ("sasl_mechanism", "sasl_username", "sasl_password") if getattr(self, name)]
        if self.sasl and len(given) < 3:
            missing = [n for n in ("sasl_mechanism", "sasl_username", "sasl_password") if n not in given]
            problems.append(f"security_protocol {self.security_protocol} also needs {' and '.join(missing)}")
        if given and not self.sasl:
            wanted = "SASL_SSL" if self.tls else "SASL_SSL or SASL_PLAINTEXT"
            problems.append(
                f"{given[0]} has no effect with security_protocol {self.security_protocol}: use {wanted}"
            )
        files = [name for name in ("ssl_ca", "ssl_cert", "ssl_key") if getattr(self, name)]
        if files and not self.tls:
            wanted = "SASL_SSL" if self.sasl else "SSL"
            problems.append(
                f"{files[0]} has no effect with security_protocol {self.security_protocol}: use {wanted}"
            )
        if self.ssl_key and not self.ssl_cert:
            problems.append("ssl_key without ssl_cert: give the certificate too")
        if problems:
            raise ValueError("; ".join(problems))
        return self
