"""Every reason in Markdown: what it means, what to do, and which in-tree policies say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.residency.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEAD = """\
# Reasons

<!-- Generated from operator/bailiwick/cli/reference/reasons.py and the chart by `make generate`; edit these. -->

One list for refusals of the API server, conditions, Events, metrics, `bailiwick check` and `bailiwick status`. A
message begins with its reason, and goes on with what was expected, what was seen, and what to do. Where a row names a
policy, the API server says it by itself, with every pod of Bailiwick dead.
"""
_TABLE = "| reason | means | what to do | said by policy |\n|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Group:
    """Reasons about one thing, each with what it means and what to do about it."""

    title: str
    told: Mapping[Reason, tuple[str, str]]


GROUPS = (
    Group(
        "Where a node stands",
        {
            Reason.ALLOWED: ("It may run here.", "Nothing."),
            Reason.PLACE_UNKNOWN: (
                "Nobody vouches for where the node stands. Unknown is foreign.",
                "Make a [NodeStatement](../node-truth.md) about it.",
            ),
            Reason.WRONG_PLACE: (
                "The node stands where the policy does not allow, or is none that the policy's Territory lists.",
                "Use a node inside, or have the policy allow its jurisdiction.",
            ),
            Reason.ASSURANCE_TOO_LOW: (
                "The place is right, but vouched for less well than the policy asks.",
                "Have it vouched for better, such as by a signature, or lower `place.assurance`.",
            ),
            Reason.VIRTUAL_NODE: (
                "The node stands for another cluster or a cloud service, so its own word counts for nothing.",
                "Make a NodeStatement about what stands behind it, or leave it out.",
            ),
            Reason.WAIVED: (
                "Inside by a [waiver](../waivers.md) that holds, in spite of what is named.",
                "Nothing until it ends.",
            ),
        },
    ),
    Group(
        "Whose law reaches it, and where it was made",
        {
            Reason.CONTROL_UNKNOWN: ("Nobody says who operates the machine.", "Give `control` in a NodeStatement."),
            Reason.WRONG_CONTROL: (
                "A country whose law reaches the operator of the machine is not allowed. All of them must be.",
                "Use a machine of another operator, or have the policy allow the jurisdiction.",
            ),
            Reason.ORIGIN_UNKNOWN: (
                "Nobody says where the hardware comes from.",
                "Give `origin` in the AcceleratorClass or in a NodeStatement.",
            ),
            Reason.WRONG_ORIGIN: (
                "Brand, manufacture or design of the hardware is of a country that is not allowed.",
                "Use other hardware, or have the policy allow it.",
            ),
        },
    ),
    Group(
        "Statements",
        {
            Reason.STATEMENT_EXPIRED: ("The statement has ended.", "Issue a new one."),
            Reason.STATEMENT_NOT_YET_VALID: ("The statement has not begun.", "Wait, or issue one that holds now."),
            Reason.STATEMENT_TOO_OLD: (
                "The statement holds, but was issued longer ago than the policy accepts.",
                "Issue a new one.",
            ),
            Reason.STATEMENTS_DISAGREE: (
                "Two who vouch for the node say different things. Of equals, neither counts.",
                "Remove the statement that is wrong.",
            ),
            Reason.IDENTITY_MISMATCH: (
                "The statement is about another machine of that name, or knows a server by another name or CA.",
                "Correct or renew the statement.",
            ),
        },
    ),
    Group(
        "Signatures",
        {
            Reason.SIGNATURE_INVALID: ("No key of the Authority made the signature.", "Have it signed again."),
            Reason.PAYLOAD_DIFFERS: (
                "What the statement says is not what was signed.",
                "Restore its spec, or have the new one signed.",
            ),
            Reason.AUTHORITY_UNKNOWN: ("The Authority is not there.", "Create it, or name one that is there."),
            Reason.AUTHORITY_NOT_ALLOWED: (
                "The Authority may not vouch for this kind of thing, or not for this jurisdiction.",
                "Name one that may, or change what it may vouch for.",
            ),
            Reason.KEY_EXPIRED: ("The key that signed has ended.", "Have it signed by a key that holds."),
            Reason.MACHINE_NOT_BOUND: (
                "Signed, but it names nothing by which the machine itself is known; it counts as `Declared`.",
                "Name what identifies the machine, and have it signed.",
            ),
        },
    ),
    Group(
        "Policies",
        {
            Reason.UNKNOWN_JURISDICTION: (
                "A name is no ISO 3166 code and no Jurisdiction. In `allow` it adds nothing; in `deny` it refuses all.",
                "Correct the name, or create the Jurisdiction.",
            ),
            Reason.CYCLIC_JURISDICTION: ("A Jurisdiction contains itself.", "Remove it from one of its members."),
            Reason.TERRITORY_FULL: ("More nodes are inside than a Territory can list.", "Split the policy."),
            Reason.INVALID_POLICY: (
                "This release cannot read the policy. Its border stays, and nothing is planned where it may govern.",
                "Correct the policy as the message says.",
            ),
            Reason.UNGOVERNED: (
                "No policy governs the namespace, so nobody says where a model may run.",
                "Give the namespace the labels that a policy selects.",
            ),
            Reason.NOT_PINNED: (
                "The pod does not select the nodes inside.",
                "Add the `nodeSelector` that the message names; where `bailiwick-pin` works, leave the label out.",
            ),
            Reason.PROTECTED_LABEL: (
                "A label that says what is inside, or which namespaces are governed, is not theirs to write.",
                "Change the statement or the policy; or ask for the verb `assign` on the policy.",
            ),
            Reason.OPERATOR_ONLY: (
                "The operator alone writes or deletes this.",
                "Change what it is made from: the policy, statement or model.",
            ),
            Reason.DRY_RUN_ONLY: ("The canary asked for more than a dry run.", "Find out who uses its identity."),
        },
    ),
    Group(
        "Waivers",
        {
            Reason.NO_WAIVERS: ("The policy permits no waivers.", "Ask for the policy to be changed."),
            Reason.WAIVER_WITHDRAWN: ("The waiver is being deleted.", "Ask anew if it is still needed."),
            Reason.WAIVER_TOO_LONG: ("It lasts longer than the policy permits.", "Ask for less time."),
            Reason.APPROVALS_MISSING: ("Fewer people have approved than the policy asks for.", "Have others approve."),
            Reason.NOT_A_PERSON: ("A program asked or approved.", "Let a person do it."),
            Reason.FORGED_NAME: ("The name given is not that of whoever writes.", "Write your own name."),
            Reason.SELF_APPROVAL: ("Who asked cannot approve.", "Have somebody else approve."),
        },
    ),
    Group(
        "Pods",
        {
            Reason.IMAGE_NOT_ALLOWED: (
                "An image is from a registry that the policy does not list, or has no digest where it asks for one.",
                "Name a copy in an allowed registry, in full.",
            ),
            Reason.FORBIDDEN_TOLERATION: (
                "A toleration names no key, or one of bailiwick.dev.",
                "Name the key of each taint that is meant.",
            ),
            Reason.FORBIDDEN_SCHEDULER: (
                "The pod asks for a scheduler that may not place pods here.",
                "Leave `schedulerName` out.",
            ),
            Reason.FORBIDDEN_ENVIRONMENT: (
                "A variable opens an inference engine, or sends it abroad.",
                "Leave it out.",
            ),
            Reason.FORBIDDEN_ARGUMENT: (
                "An argument makes an engine run foreign code, call tools or fetch media, or cannot be understood.",
                "Leave it out, or write it as the message says.",
            ),
            Reason.HOST_ACCESS: (
                "The pod reaches into its node: host network, host paths, privileges and the like.",
                "Do without.",
            ),
            Reason.MIRROR_POD: (
                "A static pod names a governed namespace.",
                "Run it elsewhere, or as an ordinary pod.",
            ),
            Reason.ACCESS_DENIED: (
                "The policy closes this way into a pod, such as exec; or a model names what its author may not read.",
                "Ask who may; for a model, ask for the right to `get` it.",
            ),
        },
    ),
    Group(
        "Data",
        {
            Reason.SOURCE_NOT_ALLOWED: (
                "The policy does not allow models from there.",
                "Serve a copy from an allowed source.",
            ),
            Reason.DIGEST_REQUIRED: (
                "The policy wants content to be named by digest.",
                "Write `name@sha256:…`, or give `model.digest`.",
            ),
            Reason.SIGNATURE_REQUIRED: (
                "The policy wants models to be signed by an Authority that it names.",
                "Have one of them sign the files.",
            ),
            Reason.LICENCE_NOT_ALLOWED: (
                "The policy does not allow the licence, or the model gives none.",
                "Say under which licence it is served.",
            ),
            Reason.SERVICE_NOT_ALLOWED: ("The policy does not allow this type of Service.", "Use one that it lists."),
            Reason.ENDPOINT_NOT_ALLOWED: (
                "Endpoints are written by somebody else than the controllers of Kubernetes.",
                "Let a Service select pods.",
            ),
            Reason.CLASS_NOT_ALLOWED: (
                "A volume, Ingress or Gateway is of a class that the policy does not list, or names storage itself.",
                "Use a class that the policy lists.",
            ),
            Reason.EGRESS_NOT_ALLOWED: (
                "A connection out is opened that the policy does not.",
                "Ask for the address to be added to `network.egress`.",
            ),
            Reason.PROPAGATION: (
                "Something would send objects of governed namespaces out of the cluster.",
                "Leave these namespaces out.",
            ),
            Reason.CLAIM_NOT_ALLOWED: (
                "A volume cannot be mounted inside, nobody knows where it is, or a claim reaches devices of others.",
                "Use a volume or device inside.",
            ),
        },
    ),
    Group(
        "The webhook",
        {
            Reason.LOOKUP_FAILED: ("What must be looked up could not be. Nothing passes unjudged.", "Try again."),
            Reason.UNKNOWN_REQUEST: (
                "A request arrived that nobody here judges.",
                "Correct the webhook's configuration.",
            ),
        },
    ),
    Group(
        "Nodes that are inside and still cannot carry a model",
        {
            Reason.NOT_READY: ("The node is not Ready.", "Mend it."),
            Reason.CORDONED: ("The node is cordoned.", "Uncordon it."),
            Reason.TAINTED: (
                "The node has a taint that the accelerator class does not tolerate.",
                "Remove it, or add the toleration.",
            ),
            Reason.NO_ACCELERATOR: (
                "The node has none of the devices, or the class is not there or does not offer the engine.",
                "Name another class, or install its driver.",
            ),
            Reason.TOO_SMALL: ("The node has less in all than one replica asks for.", "Use a larger node."),
        },
    ),
    Group(
        "Models that cannot be served as they are asked for",
        {
            Reason.INVALID_MODEL: ("Fields of the model contradict each other or the files.", "As the message says."),
            Reason.ENDPOINT_UNKNOWN: (
                "Nobody vouches for where the [server outside](../outside.md) stands.",
                "Make the EndpointStatement.",
            ),
            Reason.UNSUPPORTED_ENGINE: (
                "The engine cannot do what is asked.",
                "Choose another, or as the message says.",
            ),
            Reason.UNSUPPORTED_SOURCE: (
                "The engine or the cluster cannot take weights from there.",
                "As the message says.",
            ),
            Reason.UNSUPPORTED_FEATURE: ("This release or engine does not do that.", "Leave it out."),
            Reason.NOT_INSTALLED: (
                "It takes another project that the cluster does not have.",
                "Install it, or do without.",
            ),
        },
    ),
    Group(
        "Sizes",
        {
            Reason.UNKNOWN_ARCHITECTURE: (
                "The memory of this architecture is not known.",
                "Give `accelerators.perReplica` as the maker recommends.",
            ),
            Reason.UNKNOWN_QUANTIZATION: ("The bytes of this quantization are not known.", "As the message says."),
            Reason.MALFORMED_WEIGHTS: ("The files of the model do not fit together.", "Give all files of one model."),
            Reason.MALFORMED_PROFILE: (
                "The profile cannot be read.",
                "Write it anew: `bailiwick plan --write-profile`.",
            ),
            Reason.MISSING_PROFILE: ("The profile that the model names is not there.", "Create its ConfigMap."),
            Reason.MISSING_FIGURE: (
                "The objective needs figures that nobody gave.",
                "Add them to the class or variant.",
            ),
            Reason.DOES_NOT_FIT: (
                "The model fits on none of the classes.",
                "Use more memory, or a smaller model or context.",
            ),
        },
    ),
)


def reasons_reference(policies: Mapping[str, str]) -> str:
    """The whole page; ``policies`` are the texts of the in-tree policies by their files' names without suffix."""
    sections = [f"\n## {group.title}\n\n{_TABLE}\n" + "\n".join(_rows(group, policies)) for group in GROUPS]
    return _HEAD + "\n".join(sections) + "\n"


def _rows(group: Group, policies: Mapping[str, str]) -> Iterator[str]:
    for reason, (meaning, remedy) in group.told.items():
        saying = [f"[{name}](../../charts/bailiwick/policies/{name}.yaml)" for name in _saying(reason, policies)]
        yield f"| `{reason}` | {meaning} | {remedy} | {', '.join(saying)} |"


def _saying(reason: Reason, policies: Mapping[str, str]) -> list[str]:
    """Policies whose messages begin with the reason."""
    return sorted(name for name, text in policies.items() if f"'{reason}: " in text or f'message: "{reason}: ' in text)
