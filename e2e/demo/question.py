"""A question to the model, asked in the cluster through its Service with the openai client."""

from collections.abc import Mapping
from typing import Any

from e2e.demo.attacks import NAMESPACE

QUESTION = "What is the capital of France?"

_ASK = """
import os
from openai import OpenAI

client = OpenAI(base_url=os.environ["ENDPOINT"], api_key="none", timeout=120)
answer = client.chat.completions.create(
    model=os.environ["MODEL"], temperature=0, max_tokens=40,
    messages=[{"role": "user", "content": os.environ["QUESTION"]}],
)
print(answer.choices[0].message.content)
"""


def asking(*, endpoint: str, model: str, image: str) -> Mapping[str, Any]:
    """A Job of the tenant that asks once; its log is the answer. The engine's image has the client and Python."""
    container = {
        "name": "ask",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", _ASK],
        "env": [
            {"name": "ENDPOINT", "value": endpoint},
            {"name": "MODEL", "value": model},
            {"name": "QUESTION", "value": QUESTION},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108  the container's own
        ],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "ask", "namespace": NAMESPACE},
        "spec": {
            "backoffLimit": 2,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                }
            },
        },
    }
