"""What the servers under test are configured with."""

from typing import Any

SCRIPTED = "gateway_project.agents.scripted.ScriptedAgent"

CONFIG: dict[str, Any] = {
    "AGENTS": {
        "scripted": {"BACKEND": SCRIPTED, "GRACE_SECONDS": 0.3},
        "narrow": {"BACKEND": SCRIPTED, "GRACE_SECONDS": 0.3, "CONCURRENT_RUNS": 1},
        "steadfast": {"BACKEND": SCRIPTED, "ON_DISCONNECT": "finish"},
        "hasty": {"BACKEND": SCRIPTED, "TIMEOUT_SECONDS": 0.3},
    },
    "MODELS": {"gpt-4o": "scripted/count-3"},
    "LIMITS": {"REJECTED_ROWS_PER_MINUTE": 1000},
}
