"""Names of other things: objects, labels, images, addresses."""

import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_network
from typing import Annotated

from pydantic import Field

from bailiwick.api.markers import Rule

LONGEST_NAME = 253
LONGEST_LABEL_KEY = 317
_OBJECT = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
_LABEL_VALUE = "^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$"
_LABEL_KEY = "^([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$"


def whole(pattern: str) -> Callable[[str], bool]:
    """What CEL's ``matches`` says of ``^pattern$``; Python's own ``$`` would also allow a final newline."""
    expression = re.compile(pattern.removeprefix("^").removesuffix("$"), re.ASCII)
    return lambda text: expression.fullmatch(text) is not None


def named(pattern: str, message: str) -> Rule:
    """The rule that a string matches a pattern, which begins with ^ and ends with $."""
    return Rule(f"self.matches('{pattern}')", message, holds=whole(pattern))


is_label_key = whole(_LABEL_KEY)
_is_number = whole("0|[1-9][0-9]*")

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_NAME),
    named(_OBJECT, "must be the name of an object: lower-case letters, digits, dashes and dots"),
]
"""The name of an object, such as a Secret."""

LabelKey = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_LABEL_KEY),
    named(_LABEL_KEY, "must be a label key such as team or example.com/team"),
]

LabelValue = Annotated[
    str,
    Field(max_length=63),
    named(_LABEL_VALUE, "must be a label value: at most 63 letters, digits, dashes, dots and underscores"),
]

LABEL_KEYS = Rule(
    f"self.all(key, size(key) <= {LONGEST_LABEL_KEY} && key.matches('{_LABEL_KEY}'))",
    "every key must be a label key such as team or example.com/team",
    holds=lambda labels: all(len(key) <= LONGEST_LABEL_KEY and is_label_key(key) for key in labels),
)
"""The keys of a map are label keys."""

NODE_NAMES = Rule(
    f"self.all(name, size(name) <= {LONGEST_NAME})",
    "every key must be the name of a node",
    holds=lambda nodes: all(len(name) <= LONGEST_NAME for name in nodes),
)
"""The keys of a map are names of nodes."""

Prefix = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
"""The beginning of a name."""


HttpUrl = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    # Printable ASCII; the host, with a port, ends at the first slash, question mark or number sign.
    named("^https?://[!$-.0->@-~]+([/?#][!-~]*)?$", "must be a URL such as https://storage.example"),
]


_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_HOST_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOST = rf"({_HOST_LABEL}([.]{_HOST_LABEL})*|\[[0-9a-f:.]+\])"
_SERVER_URL = f"^https?://{_HOST}(:({_PORT}))?(/[A-Za-z0-9_][-A-Za-z0-9._~]*)*$"
_is_plain = whole(_SERVER_URL)


def _is_server_url(text: str) -> bool:
    return _is_plain(text) and ("[" not in text or _is_ipv6(text.partition("[")[2].partition("]")[0]))


def _is_ipv6(text: str) -> bool:
    try:
        address = IPv6Address(text)
    except ValueError:
        return False
    return address.ipv4_mapped is None and str(address) == text


ServerUrl = Annotated[
    str,
    Field(max_length=512),
    # Of all URLs those that no client, proxy or server reads as another, because policies judge them by how they begin.
    Rule(
        f"self.matches(r'{_SERVER_URL}') && (!self.contains('[') || "
        "[self.split('[')[1].split(']')[0]].all(address, address.contains(':') && isIP(address) && "
        "ip.isCanonical(address)))",
        "must be a URL such as https://storage.example:9000 or https://hub.example/mirror: its host in lower case, "
        "without user, query, %, .. or a slash at the end",
        holds=_is_server_url,
    ),
]
"""Where a server is, and below which path of it: ``scheme://host[:port][/path]``."""

_PART = r"[^/%?#\\\x00-\x1f\x7f]+"
_FOLDER = f"^({_PART}(/{_PART})*/?)?$"
_is_folder = whole(_FOLDER)

FolderOfObjects = Annotated[
    str,
    Field(max_length=1024),
    # It becomes part of the path of requests, and every server must read it as the same.
    Rule(
        f"self.matches(r'{_FOLDER}') && !self.split('/').exists(part, part == '.' || part == '..')",
        "must be a folder such as models/tiny: no slash before it, no empty part, . or .., no %, ?, # or backslash",
        holds=lambda folder: _is_folder(folder) and not {".", ".."} & set(folder.split("/")),
    ),
]
"""How the names of objects in a bucket begin, up to a slash; empty for all of it."""


def _is_cidr(text: str) -> bool:
    address, slash, bits = text.partition("/")
    try:
        network = ip_network(text)
    except ValueError:
        return False
    mapped = isinstance(network.network_address, IPv6Address) and network.network_address.ipv4_mapped is not None
    return slash == "/" and _is_number(bits) and "%" not in address and not mapped


Cidr = Annotated[
    str,
    Field(max_length=49),
    Rule(
        "isCIDR(self) && cidr(self) == cidr(self).masked()",
        "must be an address range such as 10.20.0.0/16 or 2001:db8::/48, with no bits set behind its prefix",
        holds=_is_cidr,
    ),
]

Digest = Annotated[
    str,
    Field(max_length=71),
    named("^sha256:[0-9a-f]{64}$", "must be sha256: and 64 lower-case hexadecimal digits"),
]
"""The SHA-256 of some content."""
