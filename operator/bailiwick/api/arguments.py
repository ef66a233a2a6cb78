"""Arguments that nobody may give to an engine: they run foreign code, call out, open it, or are Bailiwick's to set.

The API server refuses them when a SovereignModel is applied; an engine's builder may refuse more.
"""

from typing import Annotated

from pydantic import Field

from bailiwick.api.markers import Rule

FOREIGN_CODE = (  # load Python that comes with the model or from outside the image
    "--hf-overrides",
    "--logits-processors",
    "--middleware",
    "--model-class-overrides",
    "--reasoning-parser-plugin",
    "--tool-parser-plugin",
    "--trust-remote-code",
    "--worker-cls",
    "--worker-extension-cls",
)
CALLS_OUT = (  # reach hosts that no policy has judged
    "--allowed-local-media-path",
    "--allowed-media-domains",
    "--docker-repo",
    "--hf-file",
    "--hf-repo",
    "--hf-token",
    "--kv-transfer-config",
    "--model-url",
    "--otlp-traces-endpoint",
    "--rpc",
    "--tool-server",
)
SET_BY_BAILIWICK = (  # where the engine listens, what it serves, how it loads and stops
    "--api-key",
    "--config",
    "--download-dir",
    "--host",
    "--load-format",
    "--lora-modules",
    "--model",
    "--port",
    "--root-path",
    "--served-model-name",
    "--shutdown-timeout",
    "--ssl-certfile",
    "--ssl-keyfile",
    "--uds",
)
REFUSED = tuple(sorted((*FOREIGN_CODE, *CALLS_OUT, *SET_BY_BAILIWICK)))
"""Long options in the engines' spelling."""
REFUSED_SHORT = ("-hf", "-hff", "-hfr", "-hft", "-m", "-mu")
"""Short options, which engines take only as they are."""


def is_refused(argument: str) -> bool:
    """Whether an argument is one of those, however it is spelt.

    vLLM takes underscores for dashes, a value behind ``=``, and any unambiguous beginning of an option.
    """
    option = argument.partition("=")[0]
    if option in REFUSED_SHORT:
        return True
    option = option.lower().replace("_", "-")
    return len(option) > len("--") and any(refused.startswith(option) for refused in REFUSED)


def _in_cel() -> str:
    """``is_refused`` as the API server evaluates it, negated."""
    option = "self.split('=')[0]"
    long = f"{option}.lowerAscii().replace('_', '-')"
    return (
        f"!({option} in {list(REFUSED_SHORT)}) && "
        f"!(size({option}) > 2 && {list(REFUSED)}.exists(refused, refused.startsWith({long})))"
    )


Argument = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    Rule(
        _in_cel(),
        "is refused: it would run foreign code, call out, open the engine, or replace what Bailiwick sets itself",
        holds=lambda argument: not is_refused(argument),
    ),
]
"""One argument of an engine."""
