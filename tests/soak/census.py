"""What is alive inside a server, counted by the server itself: the soak tests ask this agent."""

import asyncio
import gc
import json
import threading
from collections import Counter

from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal

KINDS = ("ActiveRun", "AbortSignal", "Ticket", "Progress", "AgentRequest", "WebRequest")
"""Objects that belong to one request: none may outlive it."""


async def count(request: AgentRequest, signal: AbortSignal) -> str:
    """Tasks by name, threads, and the objects of requests. The asking run itself is among them."""
    gc.collect()
    tasks = Counter((task.get_name() or "").partition(":")[0] for task in asyncio.all_tasks())
    objects = Counter(type(thing).__name__ for thing in gc.get_objects())
    found = {f"task {name}": number for name, number in tasks.items() if not name.startswith("Task-")}
    found["tasks"] = tasks.total()
    found["threads"] = threading.active_count()
    return json.dumps(found | {kind: objects[kind] for kind in KINDS})
