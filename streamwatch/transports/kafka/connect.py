"""The clients of kafka-python, built from the settings: with timeouts, and with the reason when it fails.

kafka-python has no type information; its clients are `Any` from here on. Every constructor here connects.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaTimeoutError
from kafka.net.compat import KafkaNetClient

from streamwatch.errors import BrokerUnreachable, StartRefused
from streamwatch.transports.kafka.diagnosis import explain, listening
from streamwatch.transports.kafka.errors import translate
from streamwatch.transports.kafka.settings import KafkaSettings

# A refusal shows in the first round, so it need not wait for the second.
ROUNDS_S = (1.5, 4.5)
TRANSACTION_S = 15.0


class Client(KafkaNetClient):  # type: ignore[misc]  # kafka-python has no type information
    def await_ready(self, node_id: Any, timeout_ms: float = 30_000) -> bool:
        """Says so where kafka-python's own raises. Its producer, which asks, is made for an answer: an exception makes
        it forget the request that was to be sent, and who waits for that waits for ever. (Measured, broker killed and
        back within 5 s: 6 of 6 commits hung; 0 of 6 with this.)"""
        try:
            return bool(super().await_ready(node_id, timeout_ms=timeout_ms))
        except KafkaConnectionError:
            return False


def admin(settings: KafkaSettings, client_id: str = "streamwatch", **more: Any) -> Any:
    """A KafkaAdminClient; one request may take 5 s."""
    return _connected(
        KafkaAdminClient, settings, {"client_id": client_id, "request_timeout_ms": 5_000, **more}
    )


def consumer(settings: KafkaSettings, client_id: str = "streamwatch", **more: Any) -> Any:
    """A KafkaConsumer that reads committed records and commits nothing by itself."""
    own = {
        "client_id": client_id,
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "none",  # else expired records are skipped in silence
        "allow_auto_create_topics": False,
        "session_timeout_ms": settings.session_timeout_ms,
        # By a heartbeat a member learns that another came or went, and all wait for the last to learn it. (Measured in
        # rolling restarts of three: alerts wait at most 3 s; 6 s with a heartbeat every 3 s.)
        "heartbeat_interval_ms": min(1_000, settings.session_timeout_ms // 3),
    }
    return _connected(KafkaConsumer, settings, {**own, **more})


def producer(
    settings: KafkaSettings, transactional_id: str, client_id: str = "streamwatch", **more: Any
) -> Any:
    """A transactional KafkaProducer; `init_transactions` is the caller's."""
    own = {
        "client_id": client_id,
        "transactional_id": transactional_id,
        "transaction_timeout_ms": int(TRANSACTION_S * 1000),
        "allow_auto_create_topics": False,
        "retry_backoff_ms": 5,  # transactions back to back wait for it: p50 214 ms at the default of 100
        "linger_ms": 5,
        "batch_size": 262_144,
    }
    return _connected(KafkaProducer, settings, {**own, **more})


def writer(settings: KafkaSettings, client_id: str = "streamwatch", **more: Any) -> Any:
    """An idempotent KafkaProducer outside of transactions: what it retries is written once."""
    own = {
        "client_id": client_id,
        "enable_idempotence": True,
        "acks": "all",
        "allow_auto_create_topics": False,
        "max_block_ms": 10_000,
        "delivery_timeout_ms": 15_000,
        "request_timeout_ms": 10_000,
    }
    return _connected(KafkaProducer, settings, {**own, **more})


def arguments(settings: KafkaSettings) -> dict[str, Any]:
    """What all three clients take. StartRefused if the files of TLS cannot be used."""
    common: dict[str, Any] = {
        "bootstrap_servers": settings.servers,
        "security_protocol": settings.security_protocol,
        "reconnect_backoff_max_ms": 500,
    }
    if settings.tls:
        common["ssl_context"] = tls_context(settings)
        common["ssl_check_hostname"] = settings.ssl_check_hostname
    if settings.sasl:
        common["sasl_mechanism"] = settings.sasl_mechanism
        common["sasl_plain_username"] = settings.sasl_username
        common["sasl_plain_password"] = settings.sasl_password and settings.sasl_password.get_secret_value()
    return common


def tls_context(settings: KafkaSettings) -> ssl.SSLContext:
    """Made once, here: kafka-python would read the files at each connection, and only log what is wrong with them."""
    for name in ("ssl_ca", "ssl_cert", "ssl_key"):
        path = getattr(settings, name)
        if path is not None and not Path(path).is_file():
            raise StartRefused(
                f"{name}: there is no file {path}. To do: correct the path, or put the file there"
            )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = settings.ssl_check_hostname
    try:
        if settings.ssl_ca:
            context.load_verify_locations(settings.ssl_ca)
        else:
            context.load_default_certs()
    except OSError as error:
        raise StartRefused(
            f"ssl_ca: {settings.ssl_ca} cannot be read as PEM certificates: {error}"
        ) from error
    if settings.ssl_cert:
        secret = settings.ssl_key_password.get_secret_value() if settings.ssl_key_password else ""
        try:
            # Without a password (also an empty one) OpenSSL would ask for one on the terminal, and wait.
            context.load_cert_chain(settings.ssl_cert, settings.ssl_key, password=secret)
        except OSError as error:
            raise StartRefused(_bad_key(settings, error)) from error
    return context


def _bad_key(settings: KafkaSettings, error: OSError) -> str:
    files = f"ssl_cert ({settings.ssl_cert}) and ssl_key ({settings.ssl_key or 'in the same file'})"
    if "KEY_VALUES_MISMATCH" in str(error):
        return f"{files}: the key does not belong to the certificate"
    if "BAD_DECRYPT" in str(error) or "bad decrypt" in str(error) or "PASSWORD" in str(error).upper():
        return f"{files}: ssl_key_password does not open the key"
    return f"{files} cannot be read as PEM, or ssl_key_password does not open the key: {error}"


def _connected(kind: Callable[..., Any], settings: KafkaSettings, own: dict[str, Any]) -> Any:
    common = arguments(settings)
    *tries, last = ROUNDS_S
    for within_s in tries:
        try:
            return _try(kind, settings, {**common, **own}, within_s)
        except BrokerUnreachable:
            continue
    return _try(kind, settings, {**common, **own}, last)


def _try(kind: Callable[..., Any], settings: KafkaSettings, configs: dict[str, Any], within_s: float) -> Any:
    made: list[Any] = []

    def client(**given: Any) -> Any:
        made.append(Client(**given))
        return made[-1]

    with listening() as failures:
        try:
            return kind(kafka_client=client, bootstrap_timeout_ms=int(within_s * 1000), **configs)
        except (KafkaTimeoutError, KafkaConnectionError) as error:
            _abandon(made)
            raise explain(settings, failures) from error
        except Exception as error:
            _abandon(made)
            ours = translate(error, f"connect to {settings.bootstrap_servers}")
            if ours is None:
                raise
            raise ours from error


def _abandon(clients: list[Any]) -> None:
    """kafka-python's constructors leave a thread behind when they fail; one more at each try while we wait."""
    for client in clients:
        client.close()
