"""kafka-python's errors become ours at this edge, and nowhere else.

Each class of `kafka.errors` stands in exactly one group below; a test fails when kafka-python grows one that nobody
sorted. What kafka-python retries by itself and gives up on is the platform's fault; what no retry can help is told to
the operator, with what to grant or change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors as kafka

from streamwatch.errors import (
    BrokerUnreachable,
    PlatformError,
    StartRefused,
    StreamwatchError,
    TaskLost,
    TransactionTimeout,
)

# What to do about it, by the name of kafka-python's class.
REFUSED = {
    "TopicAuthorizationFailedError": "grant Read on input topics, Write on output topics, both on the state topic",
    "GroupAuthorizationFailedError": "grant Read on the group",
    "TransactionalIdAuthorizationFailedError": "grant Write and Describe on the transactional id",
    "ClusterAuthorizationFailedError": "grant Create on the topic, or create it with an account that may",
    "AuthorizationError": "grant the right that is named",
    "DelegationTokenAuthorizationFailedError": "use a user and password",
    "SaslAuthenticationFailedError": "check sasl_username and sasl_password",
    "UnsupportedSaslMechanismError": "set sasl_mechanism to one that the broker has enabled",
    "IllegalSaslStateError": "set security_protocol to what the port speaks",
    "SecurityDisabledError": "the broker has no authorizer: nothing can be granted, and nothing need be",
    "UnknownTopicOrPartitionError": "create the topic, or correct its name",
    "InvalidTopicError": "correct the topic's name",
    "InvalidGroupIdError": "correct the service's name",
    "InvalidReplicationFactorError": "set replication_factor to at most the number of brokers",
    "InvalidPartitionsError": "create the topic by hand",
    "InvalidConfigurationError": "create the topic by hand with settings that the cluster allows",
    "PolicyViolationError": "create the topic by hand within the cluster's policy",
    "InvalidRequestError": "update the broker (Kafka 2.5 or newer)",
    "InvalidSessionTimeoutError": "set session_timeout_ms within the broker's group.{min,max}.session.timeout.ms",
    "InvalidTransactionTimeoutError": "raise the broker's transaction.max.timeout.ms to at least 15000",
    "InconsistentGroupProtocolError": "another program is in the group: give this service its own name; "
    "or replicas with other `tasks`: end those first",
    "GroupMaxSizeReachedError": "raise the broker's group.max.size, or run fewer replicas",
    "UnsupportedVersionError": "update the broker (Kafka 2.5 or newer)",
    "IncompatibleBrokerVersion": "use the port of a broker, not of a controller; Kafka 2.5 or newer",
    "UnrecognizedBrokerVersion": "update the broker (Kafka 2.5 or newer)",
    "UnsupportedForMessageFormatError": "update the topic's message format",
    "UnsupportedCompressionTypeError": "allow the compression on the topic",
    "UnsupportedCodecError": "install the library of the codec that the producer of the input uses",
    "MessageSizeTooLargeError": "raise max.message.bytes of the topic to 1048588 or more",
    "RecordListTooLargeError": "raise segment.bytes of the topic",
    "InvalidTimestampError": "raise message.timestamp.before.max.ms of the topic",
    "InvalidRecordError": "the topic refuses the record: it must be compacted only if it is the state topic",
    "InvalidRequiredAcksError": "correct min.insync.replicas of the topic",
}  # fmt: skip

# Another owner has the task, or our transaction cannot go on: throw the producer away and restore.
LOST = frozenset({
    "ProducerFencedError", "InvalidProducerEpochError", "InvalidProducerIdMappingError", "UnknownProducerIdError",
    "OutOfOrderSequenceNumberError", "DuplicateSequenceNumberError", "InvalidTxnStateError",
    "TransactionCoordinatorFencedError", "TransactionAbortedError", "TransactionAbortableError",
    "ConcurrentTransactionsError", "TransactionalIdNotFoundError", "CommitFailedError", "IllegalGenerationError",
    "UnknownMemberIdError", "MemberIdRequiredError", "RebalanceInProgressError", "FencedInstanceIdError",
    "FencedMemberEpochError", "StaleMemberEpochError", "UnreleasedInstanceIdError",
})  # fmt: skip

TIMEOUTS = frozenset({"KafkaTimeoutError", "RequestTimedOutError"})

# The cluster is on its way somewhere: kafka-python retried, and gave up.
UNREACHABLE = frozenset({
    "RetriableError", "InvalidMetadataError", "Cancelled", "KafkaConnectionError", "KafkaProtocolError",
    "CorrelationIdError", "InvalidReceiveError", "MetadataEmptyBrokerList", "NodeNotReadyError",
    "UnknownBrokerIdError", "StaleMetadata", "TooManyInFlightRequests", "QuotaViolationError",
    "ThrottlingQuotaExceededError", "LeaderNotAvailableError", "NotLeaderForPartitionError",
    "BrokerNotAvailableError", "ReplicaNotAvailableError", "NetworkExceptionError", "CoordinatorLoadInProgressError",
    "CoordinatorNotAvailableError", "NotCoordinatorError", "NotEnoughReplicasError",
    "NotEnoughReplicasAfterAppendError", "NotControllerError", "KafkaStorageError", "FetchSessionIdNotFoundError",
    "InvalidFetchSessionEpochError", "FetchSessionTopicIdError", "ListenerNotFoundError", "FencedLeaderEpochError",
    "UnknownLeaderEpochError", "OffsetNotAvailableError", "PreferredLeaderNotAvailableError",
    "EligibleLeadersNotAvailableError", "UnstableOffsetCommitError", "UnknownTopicIdError",
    "InconsistentTopicIdError", "InconsistentClusterIdError", "NewLeaderElectedError", "UnknownError",
    "CorruptRecordError", "OffsetMovedToTieredStorageError", "UnknownControllerIdError", "StaleControllerEpochError",
    "StaleBrokerEpochError", "OperationNotAttemptedError", "TopicAlreadyExistsError",
})  # fmt: skip

# Handled where they arise (lost data), or a fault of this program, whose own traceback says most.
NOT_TRANSLATED = frozenset({
    "OffsetOutOfRangeError", "NoOffsetForPartitionError", "LogTruncationError",
    "IllegalArgumentError", "IllegalStateError", "KafkaConfigurationError", "InvalidFetchRequestError",
    "OffsetMetadataTooLargeError", "InvalidCommitOffsetSizeError", "NoError",
})  # fmt: skip

# Answers to requests that are never made here (administration, share groups, delegation tokens, brokers' own).
NEVER_ASKED = frozenset({
    "KafkaError", "BrokerResponseError",
    "InvalidReplicationAssignmentError", "LogDirNotFoundError", "ReassignmentInProgressError",
    "DelegationTokenAuthDisabledError", "DelegationTokenNotFoundError", "DelegationTokenOwnerMismatchError",
    "DelegationTokenRequestNotAllowedError", "DelegationTokenExpiredError", "InvalidPrincipalTypeError",
    "NonEmptyGroupError", "GroupIdNotFoundError", "TopicDeletionDisabledError", "ElectionNotNeededError",
    "NoReassignmentInProgressError", "GroupSubscribedToTopicError", "ResourceNotFoundError",
    "DuplicateResourceError", "UnacceptableCredentialError", "InconsistentVoterSetError",
    "InvalidUpdateVersionError", "FeatureUpdateFailedError", "PrincipalDeserializationFailureError",
    "SnapshotNotFoundError", "PositionOutOfRangeError", "DuplicateBrokerRegistrationError",
    "BrokerIdNotRegisteredError", "IneligibleReplicaError", "UnsupportedAssignorError",
    "MismatchedEndpointTypeError", "UnsupportedEndpointTypeError", "UnknownSubscriptionIdError",
    "TelemetryTooLargeError", "InvalidRegistrationError", "InvalidRecordStateError", "ShareSessionNotFoundError",
    "InvalidShareSessionEpochError", "FencedStateEpochError", "InvalidVoterKeyError", "DuplicateVoterError",
    "VoterNotFoundError",
})  # fmt: skip


def translate(error: BaseException, doing: str, *, transactional: bool = False) -> StreamwatchError | None:
    """What `error` means for us, or None: not kafka-python's, or to be raised as it is.

    `doing` names the action and its object ("join the group 'fraud-watch'"). `transactional`: a call of a
    transaction, whose outcome is unknown when it timed out.
    """
    if isinstance(error, StreamwatchError):
        return error
    if not isinstance(error, kafka.KafkaError):
        return None
    name = type(error).__name__
    text = f"cannot {doing}: {_said(error)}"
    if transactional and name == "IllegalStateError":
        # A producer that is fenced ends its transaction on its own thread: the call in the middle finds no transaction.
        return TaskLost(text)
    if name in NOT_TRANSLATED:
        return None
    if name in REFUSED:
        return StartRefused(f"{text}. To do: {REFUSED[name]}")
    if name in LOST:
        return TaskLost(text)
    if name in TIMEOUTS:
        return (
            TransactionTimeout(f"{text}; its outcome is unknown")
            if transactional
            else BrokerUnreachable(text)
        )
    if name in UNREACHABLE or getattr(error, "retriable", False):
        return BrokerUnreachable(text)
    return PlatformError(text)


@contextmanager
def translated(doing: str, *, transactional: bool = False) -> Iterator[None]:
    """kafka-python's errors leave the block as ours."""
    try:
        yield
    except kafka.KafkaError as error:
        ours = translate(error, doing, transactional=transactional)
        if ours is None:
            raise
        raise ours from error


def _said(error: kafka.KafkaError) -> str:
    """One line. kafka-python puts whole requests and responses into some texts: cut."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."
