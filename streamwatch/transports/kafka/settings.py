"""How to reach the Kafka cluster: addresses, TLS, SASL. Secrets are never printed."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class KafkaSettings(BaseModel):
    """One cluster: one transaction spans inputs, state and outputs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = Field("localhost:9092", description="host:port, several separated by commas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field("PLAINTEXT")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(None)
    sasl_username: str | None = Field(None)
    sasl_password: SecretStr | None = Field(None)
    ssl_ca: str | None = Field(None, description="path of the PEM file with the authorities to trust")
    ssl_cert: str | None = Field(None, description="path of the PEM file with our certificate (mutual TLS)")
    ssl_key: str | None = Field(None, description="path of the PEM file with our key")
    ssl_key_password: SecretStr | None = Field(None)
    ssl_check_hostname: bool = Field(True)
    session_timeout_ms: int = Field(10_000, ge=1_000, description="a silent worker is replaced after so long")
    replication_factor: int = Field(-1, description="of own topics when they are created; -1 = the broker's default")
    create_topics: bool = Field(True, description="create own topics (alerts, dead letters, state) if missing")
