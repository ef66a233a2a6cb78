"""Ports and paths on which the engine, the gate and the probes agree, and how long things may take."""

ENGINE_PORT = 8000
"""On loopback, and only there."""
CLIENT_PORT = 8080
"""The gate: the inference API."""
PROBE_PORT = 8081
"""The gate: health and metrics."""

MODEL_PATH = "/model"
ADAPTER_PATH = "/adapters"
SCRATCH_PATH = "/tmp"  # noqa: S108 - the pod's own emptyDir

SECRETS_PATH = "/secrets"
"""Of the gate: Secrets that a model names, each in a folder of its own."""
GATE_RUN_PATH = "/run/gate"
"""Of the gate: what it makes of them, in memory."""

START_SECONDS = 3600
"""Where nobody knows how many bytes are read, and how fast (`starting`). A broken engine exits by itself, earlier."""
PRE_STOP_SECONDS = 15
"""Until every node has taken the pod out of its Services, requests still come; they must find an engine. A busy node
was seen to take 5 s."""
DRAIN_SECONDS = 60
"""What requests under way get to end, once the engine was told to stop."""
GRACE_SECONDS = PRE_STOP_SECONDS + DRAIN_SECONDS + 15
"""Then the kubelet kills. An engine past its own limit hangs, so the sum leaves room."""
