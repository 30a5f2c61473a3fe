"""What the servers under test are configured with."""

from typing import Any

SCRIPTED = "gateway_project.agents.scripted.ScriptedAgent"

CONFIG: dict[str, Any] = {
    "AGENTS": {
        "scripted": {"BACKEND": SCRIPTED, "GRACE_SECONDS": 0.3},
        "narrow": {"BACKEND": SCRIPTED, "GRACE_SECONDS": 0.3, "CONCURRENT_RUNS": 1},
        "steadfast": {"BACKEND": SCRIPTED, "GRACE_SECONDS": 30, "ON_DISCONNECT": "finish"},
        "lingering": {"BACKEND": SCRIPTED, "GRACE_SECONDS": 0.3, "ON_DISCONNECT": "linger:2"},
        "told": {
            "BACKEND": "gateway_project.agents.function.FunctionAgent",
            "OPTIONS": {
                "function": "tests.e2e.stories.tell",
                "supports": ["tools", "forced_tools", "choices", "logprobs"],
            },
        },
        "hasty": {"BACKEND": SCRIPTED, "TIMEOUT_SECONDS": 1},
    },
    "MODELS": {"gpt-4o": "scripted/count-3"},
    "LIMITS": {"REJECTED_ROWS_PER_MINUTE": 1000},
}
