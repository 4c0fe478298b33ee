"""Why a first connection failed. kafka-python retries silently until its timeout and then says only "Unable to
bootstrap"; the reasons are in its log. Here they are listened to and become one of our errors.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from streamwatch.errors import BrokerUnreachable, StartRefused, StreamwatchError
from streamwatch.transports.kafka.settings import KafkaSettings

# The one logger that says why: a line for each try. Its wording is pinned by the tests on a real broker.
LOGGER = "kafka.net.manager"
TRY = re.compile(
    r"^Bootstrap (?P<stage>connection|attempt) to \S+ failed: (?P<reason>.*) \(backoff [\d.]+ secs\)$"
)
TLS_ALERT = re.compile(r"Invalid frame length: (\d+)")
PROBE_S = 2.0
_listening = threading.Lock()


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed try. `stage`: connection (while connecting or logging in) or attempt (at the first request)."""

    stage: str
    reason: str


class _Listener(logging.Handler):
    def __init__(self, heard: list[Failure]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        if match := TRY.match(record.getMessage()):
            self._heard.append(Failure(match["stage"], match["reason"]))


@contextmanager
def listening() -> Iterator[list[Failure]]:
    """What kafka-python logs about failed first connections, whatever levels the log is set to. Nothing of it goes
    on to the log: it comes as our error. One at a time in a process."""
    heard: list[Failure] = []
    logger, listener = logging.getLogger(LOGGER), _Listener(heard)
    with _listening:
        before = logger.level, logger.propagate, logger.disabled
        logger.setLevel(logging.WARNING)
        logger.propagate, logger.disabled = False, False
        logger.addHandler(listener)
        try:
            yield heard
        finally:
            logger.removeHandler(listener)
            logger.setLevel(before[0])
            logger.propagate, logger.disabled = before[1], before[2]


def explain(settings: KafkaSettings, failures: list[Failure]) -> StreamwatchError:
    """The error for a first connection that failed with these tries.

    1. the broker says that user or password is wrong, or that it lacks the mechanism, or wants no SASL
    2. its certificate is not trusted, or not for this host
    3. it does not accept our certificate, or wants one
    4. one side speaks TLS and the other does not
    5. it is no broker but a controller
    6. it hangs up on the first request: it wants a login
    7. it hangs up while we log in: login refused (the answer of rule 1 is often lost)
    8. else nobody answers: to be waited for
    """
    at = f"{settings.bootstrap_servers} ({settings.security_protocol})"
    every = " ".join(failure.reason for failure in failures)
    refused = _refusal(settings, failures, every)
    if refused is not None:
        return StartRefused(f"Kafka at {at} refuses the connection: {refused}")
    last = failures[-1].reason if failures else "no answer in time"
    return BrokerUnreachable(f"no Kafka broker answers at {at}: {_plain(last)}")


def _refusal(settings: KafkaSettings, failures: list[Failure], every: str) -> str | None:
    spoken = _said(failures, "SaslAuthenticationFailedError")
    if spoken:
        return f"{spoken}. To do: check sasl_username ({settings.sasl_username!r}) and sasl_password"
    if spoken := _said(failures, "UnsupportedSaslMechanismError"):
        return f"{spoken}. To do: set sasl_mechanism to one that the broker has enabled"
    if "IllegalSaslStateError" in every:
        wanted = "SSL" if settings.tls else "PLAINTEXT"
        return f"the port wants no SASL login. To do: set security_protocol to {wanted}, or use the port for SASL"
    tls = _tls_refusal(settings, failures, every)
    if tls is not None:
        return tls
    if "IncompatibleBrokerVersion" in every:
        return "it is a controller, or too old. To do: use the port of a broker (Kafka 2.5 or newer)"
    if "ECONNREFUSED" in every:
        return None
    if not settings.tls and "socket disconnected" in every and any(map(speaks_tls, settings.servers)):
        return _needs_tls(settings)
    if not settings.sasl and any(f.stage == "attempt" and "disconnected" in f.reason for f in failures):
        wanted = "SASL_SSL" if settings.tls else "SASL_PLAINTEXT"
        return (
            f"it hangs up on a request without a login. To do: set security_protocol to {wanted}, and sasl_mechanism, "
            "sasl_username, sasl_password"
        )
    if settings.sasl and "socket disconnected" in every:
        return (
            f"it hangs up while we log in. To do: check sasl_mechanism ({settings.sasl_mechanism}, is it enabled on "
            f"this port?), sasl_username ({settings.sasl_username!r}) and sasl_password"
        )
    return None


def _tls_refusal(settings: KafkaSettings, failures: list[Failure], every: str) -> str | None:
    if spoken := _said(failures, "CERTIFICATE_VERIFY_FAILED"):
        if "mismatch" in spoken.lower():
            return (
                f"{spoken}. To do: use a host name that the certificate holds (or ssl_check_hostname: false)"
            )
        if "expired" in spoken:
            return f"{spoken}. To do: renew the broker's certificate"
        trusted = (
            f"ssl_ca ({settings.ssl_ca})"
            if settings.ssl_ca
            else "the system's authorities (ssl_ca is not set)"
        )
        return f"{spoken}. To do: the authority that signed the broker's certificate must be in {trusted}"
    if re.search(
        r"alert (bad certificate|certificate|unknown ca|handshake failure)|CERTIFICATE_REQUIRED", every, re.I
    ):
        have = f"the broker must trust who signed ssl_cert ({settings.ssl_cert})"
        none = "the port wants a client certificate: set ssl_cert and ssl_key"
        return f"{_plain(failures[-1].reason)}. To do: {have if settings.ssl_cert else none}"
    if settings.tls and re.search(
        r"UNEXPECTED_EOF|WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH", every
    ):
        wanted = "SASL_PLAINTEXT" if settings.sasl else "PLAINTEXT"
        return f"the port does not speak TLS. To do: use the TLS port, or set security_protocol to {wanted}"
    lengths = [int(number) for number in TLS_ALERT.findall(every)]
    if any(number >> 16 == 0x1503 for number in lengths):  # the first bytes of a TLS alert
        return _needs_tls(settings)
    return None


def _needs_tls(settings: KafkaSettings) -> str:
    wanted = "SASL_SSL" if settings.sasl else "SSL"
    return f"the port speaks TLS and we do not. To do: set security_protocol to {wanted}"


def speaks_tls(server: str) -> bool:
    """Whether the port answers a TLS greeting, whatever its certificate."""
    host, _, port = server.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S) as plain:
            context.wrap_socket(plain).close()
    except ssl.SSLEOFError:
        return False
    except ssl.SSLError as error:
        return "ALERT" in str(error).upper()  # an alert is TLS too
    except OSError:
        return False
    return True


def _said(failures: list[Failure], word: str) -> str:
    return next((_plain(failure.reason) for failure in failures if word in failure.reason), "")


def _plain(reason: str) -> str:
    """The reason without kafka-python's and Python's wrapping."""
    reason = re.sub(r"^(\[Error \d+\] )?(\w+Error: )*", "", reason)
    reason = re.sub(r"^(Handshake failed: )?\[(SSL|X509): (\w+)\] ", "", reason)
    reason = re.sub(r"\d+ ECONNREFUSED", "connection refused", reason)
    return re.sub(r" \(_ssl\.c:\d+\)", "", reason).rstrip(".") or "no reason given"
