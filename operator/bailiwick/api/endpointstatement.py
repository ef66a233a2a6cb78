"""EndpointStatement: what somebody says about one inference server outside the cluster."""

from ipaddress import ip_address
from typing import Annotated, ClassVar

from pydantic import Field

from bailiwick.api.markers import Rule
from bailiwick.api.names import named, whole
from bailiwick.api.nodestatement import StatementSpec
from bailiwick.api.resource import Column, Kind, Part, Resource


def _is_address(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    odd = (address.is_loopback, address.is_link_local, address.is_multicast, address.is_unspecified)
    mapped = address.version == 6 and address.ipv4_mapped is not None  # noqa: PLR2004 - IPv6
    return not any(odd) and not mapped and "%" not in text and str(address) == text and text != "255.255.255.255"


# Line ends are spelt as what is no printable ASCII, as for the keys of an Authority.
_LINE = "[A-Za-z0-9+/=]{1,76}[^!-~]{1,2}"
_CERTIFICATES = f"^(-----BEGIN CERTIFICATE-----[^!-~]{{1,2}}({_LINE})+-----END CERTIFICATE-----[^!-~]{{0,2}})+$"
_are_certificates = whole(_CERTIFICATES)


class Endpoint(Part):
    """The server that is meant, and how it is recognised: by its certificate, whatever answers at the address."""

    address: Annotated[
        str,
        Field(max_length=39),
        Rule(
            "isIP(self) && ip.isCanonical(self) && ip(self).isGlobalUnicast()",
            "must be one address such as 192.0.2.7 or 2001:db8::7, spelt as usual, of no loopback, link or group",
            holds=_is_address,
        ),
    ] = Field(description="Its address. Names are not taken: they may lead elsewhere tomorrow.")
    port: int = Field(ge=1, le=65535, description="Its TCP port, where it speaks TLS.")
    server_name: Annotated[
        str,
        Field(min_length=1, max_length=253),
        named("^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", "must be a host name such as mac-1.models.example"),
    ] = Field(description="The DNS name that its certificate must bear. Nobody looks it up.")
    certificate_authority: str = Field(
        min_length=1,
        max_length=16384,
        description="Certificates in PEM of the CA that its certificate comes from. A self-signed one is its own CA.",
    )
    health_path: Annotated[
        str,
        Field(max_length=256),
        named("^/[A-Za-z0-9._~/-]*$", "must be a path such as /health"),
    ] = Field(default="/v1/models", description="Path that answers 200 when it can serve.")
    rules = (
        # Stands here and not on the field, so that the answer to somebody's private key does not repeat it.
        Rule(
            f"self.certificateAuthority.matches('{_CERTIFICATES}')",
            "must be certificates in PEM and nothing else: -----BEGIN CERTIFICATE----- and so on",
            holds=lambda self: _are_certificates(self.certificate_authority),
            path=".certificateAuthority",
        ),
    )


class EndpointStatementSpec(StatementSpec):
    """Facts about one server, and how long they hold."""

    endpoint: Endpoint = Field(description="Which server is meant.")


class EndpointStatement(Resource):
    """What somebody says about one inference server outside the cluster, so that models may be served from there."""

    presents: ClassVar[Kind] = Kind(
        plural="endpointstatements",
        singular="endpointstatement",
        short_names=("estmt",),
        columns=(
            Column("Address", ".spec.endpoint.address"),
            Column("Port", ".spec.endpoint.port", "integer"),
            Column("Place", ".spec.place.jurisdiction"),
            Column("Control", ".spec.control.jurisdiction"),
            Column("Authority", ".spec.authority"),
            Column("Expires", ".spec.expiresAt"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: EndpointStatementSpec = Field(description="The facts.")
