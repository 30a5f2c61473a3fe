"""What both endpoints keep to of HTTP and JSON themselves."""

from .requirement import Requirement as Rule

REQUIREMENTS = (
    Rule("Content-Type", "Requests must be JSON (else 415); answers and errors are JSON, streams `text/event-stream`."),
    Rule("Content-Encoding", "A compressed body is a 415."),
    Rule(
        "JSON",
        "No NaN, no number beyond all numbers, no bottomless nesting, no body but an object: a 400 that says so.",
    ),
    Rule("Content-Length", "A body over the limit is a 413."),
    Rule("Host", "Only the hosts that are allowed."),
    Rule("Allow", "Other methods are a 405 that tells which are allowed."),
    Rule("Origin", "Browsers of the allowed origins are let in, preflight and headers included."),
    Rule("Server-sent events", "Silence is filled with comments, which cost no event."),
    Rule(
        "x-request-id (caller's)",
        "Kept with the run if it is short and printable; never echoed, so that no header can be smuggled in.",
    ),
)
