"""What the settings of a cluster refuse, in words; whether it can be reached is asked later."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from streamwatch.transports.kafka.connect import arguments
from streamwatch.transports.kafka.settings import KafkaSettings

LOGIN = {"sasl_mechanism": "PLAIN", "sasl_username": "alice", "sasl_password": "hidden"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"bootstrap_servers": "broker"}, "expected host:port"),
        ({"bootstrap_servers": "a:9092,,b:9092"}, "'' is none"),
        ({"bootstrap_servers": "a:99999"}, "'a:99999' is none"),
        ({"bootstrap_servers": "http://a:9092"}, "expected host:port"),
        ({"security_protocol": "SASL_SSL"}, "also needs sasl_mechanism and sasl_username and sasl_password"),
        ({"security_protocol": "SASL_SSL", **LOGIN, "sasl_password": None}, "also needs sasl_password"),
        (
            LOGIN,
            "sasl_mechanism has no effect with security_protocol PLAINTEXT: use SASL_SSL or SASL_PLAINTEXT",
        ),
        ({"security_protocol": "SSL", **LOGIN}, "use SASL_SSL"),
        ({"ssl_ca": "ca.pem"}, "ssl_ca has no effect with security_protocol PLAINTEXT: use SSL"),
        ({"security_protocol": "SSL", "ssl_key": "key.pem"}, "ssl_key without ssl_cert"),
        ({"security_protocol": "SASL_SSL", **LOGIN, "sasl_password": "hidden\n"}, "line break"),
        ({"security_protocol": "SASL_SSL", **LOGIN, "sasl_password": ""}, "at least 1"),
        ({"security_protocol": "SASL_SSL", **LOGIN, "sasl_mechanism": "GSSAPI"}, "'SCRAM-SHA-512'"),
        ({"replication_factor": 0}, "1 or more, or -1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_in_words(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        KafkaSettings.model_validate(given)
    texts = [error["msg"] for error in refused.value.errors()]
    assert any(says in text for text in texts), texts
    assert not any("hidden" in text for text in texts)


@pytest.mark.parametrize(
    "servers", ["localhost:9092", "a.example:9092, b-1:9093", "[::1]:9092", "10.0.0.1:1"]
)
def test_addresses_are_taken_one_by_one(servers: str) -> None:
    assert arguments(KafkaSettings.model_validate({"bootstrap_servers": servers}))["bootstrap_servers"] == [
        server.strip() for server in servers.split(",")
    ]


def test_the_password_goes_to_the_client_and_nowhere_else() -> None:
    settings = KafkaSettings.model_validate({"security_protocol": "SASL_PLAINTEXT", **LOGIN})
    assert arguments(settings)["sasl_plain_password"] == "hidden"
    assert "hidden" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_files_need_not_be_there_when_a_config_is_only_read() -> None:
    KafkaSettings.model_validate({"security_protocol": "SSL", "ssl_ca": "/not/on/this/machine.pem"})
