"""The answer to "may it run here?", and the one list of reasons that everybody uses."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why: in admission messages, conditions, events, metrics and reports alike."""

    ALLOWED = "Allowed"

    # Where the node stands.
    PLACE_UNKNOWN = "PlaceUnknown"
    WRONG_PLACE = "WrongPlace"
    ASSURANCE_TOO_LOW = "AssuranceTooLow"
    VIRTUAL_NODE = "VirtualNode"
    # Whose law reaches its operator, and where its hardware comes from.
    CONTROL_UNKNOWN = "ControlUnknown"
    WRONG_CONTROL = "WrongControl"
    ORIGIN_UNKNOWN = "OriginUnknown"
    WRONG_ORIGIN = "WrongOrigin"
    WAIVED = "Waived"
    # What is the matter with those who say so.
    STATEMENT_EXPIRED = "StatementExpired"
    STATEMENT_NOT_YET_VALID = "StatementNotYetValid"
    STATEMENT_TOO_OLD = "StatementTooOld"
    STATEMENTS_DISAGREE = "StatementsDisagree"
    IDENTITY_MISMATCH = "IdentityMismatch"
    # What is the matter with a signature.
    SIGNATURE_INVALID = "SignatureInvalid"
    PAYLOAD_DIFFERS = "PayloadDiffers"
    AUTHORITY_UNKNOWN = "AuthorityUnknown"
    AUTHORITY_NOT_ALLOWED = "AuthorityNotAllowed"
    KEY_EXPIRED = "KeyExpired"
    MACHINE_NOT_BOUND = "MachineNotBound"
    # What is the matter with a policy.
    UNKNOWN_JURISDICTION = "UnknownJurisdiction"
    CYCLIC_JURISDICTION = "CyclicJurisdiction"
    TERRITORY_FULL = "TerritoryFull"
    INVALID_POLICY = "InvalidPolicy"
    # What is the matter with a waiver, or with who asks for it or approves of it.
    NO_WAIVERS = "NoWaivers"
    WAIVER_WITHDRAWN = "WaiverWithdrawn"
    WAIVER_TOO_LONG = "WaiverTooLong"
    APPROVALS_MISSING = "ApprovalsMissing"
    NOT_A_PERSON = "NotAPerson"
    FORGED_NAME = "ForgedName"
    SELF_APPROVAL = "SelfApproval"
    # What the in-tree policies refuse besides (charts/bailiwick/policies).
    UNGOVERNED = "Ungoverned"
    NOT_PINNED = "NotPinned"
    PROTECTED_LABEL = "ProtectedLabel"
    OPERATOR_ONLY = "OperatorOnly"
    DRY_RUN_ONLY = "DryRunOnly"
    SOURCE_NOT_ALLOWED = "SourceNotAllowed"
    DIGEST_REQUIRED = "DigestRequired"
    SIGNATURE_REQUIRED = "SignatureRequired"
    LICENCE_NOT_ALLOWED = "LicenceNotAllowed"
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    FORBIDDEN_TOLERATION = "ForbiddenToleration"
    FORBIDDEN_SCHEDULER = "ForbiddenScheduler"
    FORBIDDEN_ENVIRONMENT = "ForbiddenEnvironment"
    HOST_ACCESS = "HostAccess"
    MIRROR_POD = "MirrorPod"
    ACCESS_DENIED = "AccessDenied"
    SERVICE_NOT_ALLOWED = "ServiceNotAllowed"
    ENDPOINT_NOT_ALLOWED = "EndpointNotAllowed"
    CLASS_NOT_ALLOWED = "ClassNotAllowed"
    EGRESS_NOT_ALLOWED = "EgressNotAllowed"
    PROPAGATION = "Propagation"
    CLAIM_NOT_ALLOWED = "ClaimNotAllowed"
    # What the webhook refuses besides.
    LOOKUP_FAILED = "LookupFailed"
    UNKNOWN_REQUEST = "UnknownRequest"
    # Why a node inside the border still cannot carry a model.
    NOT_READY = "NotReady"
    CORDONED = "Cordoned"
    TAINTED = "Tainted"
    NO_ACCELERATOR = "NoAccelerator"
    TOO_SMALL = "TooSmall"
    # Why a model cannot be served at all, as it is asked for.
    INVALID_MODEL = "InvalidModel"
    ENDPOINT_UNKNOWN = "EndpointUnknown"
    UNSUPPORTED_ENGINE = "UnsupportedEngine"
    UNSUPPORTED_SOURCE = "UnsupportedSource"
    UNSUPPORTED_FEATURE = "UnsupportedFeature"
    FORBIDDEN_ARGUMENT = "ForbiddenArgument"
    NOT_INSTALLED = "NotInstalled"
    # Why nobody can say what a model needs.
    UNKNOWN_ARCHITECTURE = "UnknownArchitecture"
    UNKNOWN_QUANTIZATION = "UnknownQuantization"
    MALFORMED_WEIGHTS = "MalformedWeights"
    MALFORMED_PROFILE = "MalformedProfile"
    MISSING_PROFILE = "MissingProfile"
    MISSING_FIGURE = "MissingFigure"
    DOES_NOT_FIT = "DoesNotFit"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with what was said or asked, and what to do about it."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something is allowed, and why.

    A verdict that allows has the reason Allowed and no message, or it allows in spite of a doubt that the policy
    tolerates (``unknown: Warn``) and names the doubt.
    """

    allowed: bool
    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else str(self.reason)


ALLOWED = Verdict(allowed=True, reason=Reason.ALLOWED, message="")


def refuse(reason: Reason, message: str) -> Verdict:
    """No. The message tells what was expected, what was seen, who says so, and what to do."""
    return Verdict(allowed=False, reason=reason, message=message)


def tolerate(reason: Reason, message: str) -> Verdict:
    """Yes, in spite of a doubt that must not go unheard."""
    return Verdict(allowed=True, reason=reason, message=message)


def strictest(verdicts: Iterable[Verdict]) -> Verdict:
    """All of them must allow: the first refusal, or else the first doubt, or else yes. Stops at the first refusal."""
    outcome = ALLOWED
    for verdict in verdicts:
        if not verdict.allowed:
            return verdict
        if outcome is ALLOWED:
            outcome = verdict
    return outcome
