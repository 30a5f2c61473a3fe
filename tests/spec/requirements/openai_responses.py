"""What OpenAI's Responses API adds to Open Responses: stored responses, resuming, models.

Source: OpenAI's OpenAPI file.
"""

from .requirement import Requirement as Rule

REQUIREMENTS = (
    Rule("Response", "Every body keeps to OpenAI's schema too."),
    Rule("ResponseStreamEvent", "Every event keeps to OpenAI's schema too, but for what is named below."),
    Rule("user", "Recorded."),
    Rule("prompt_cache_retention", "Recorded."),
    Rule("prompt_cache_options", "Recorded."),
    Rule("reasoning.generate_summary", "The old name of `reasoning.summary`."),
    Rule(
        "conversation",
        "Refused by name.",
        "Conversations are objects of another API; `previous_response_id` continues one.",
    ),
    Rule("prompt", "Refused by name.", "Prompts that are kept at the server are another product's part."),
    Rule("moderation", "Refused by name.", "Nothing here judges texts: a service in front or the agent itself does."),
    Rule(
        "CustomToolParam",
        "Left out like a hosted tool; a choice that asks for one is refused by name.",
        "A custom tool has free text where functions have JSON: no agent contract carries it.",
    ),
    Rule(
        "response.reasoning_text.delta",
        "Raw reasoning is streamed by this name to OpenAI's own clients (`x-stainless-lang`), by that of Open "
        "Responses to all others.",
    ),
    Rule(
        "TextResponseFormatJsonSchema.description",
        "Null where the request gave none.",
        "Open Responses requires the key, OpenAI's file leaves it out or wants a string. Official clients take both.",
    ),
    Rule(
        "Response.usage",
        "Null before the end, as Open Responses wants it.",
        "OpenAI leaves the key out; Open Responses requires it. Official clients take both.",
    ),
    Rule(
        "ResponseErrorCode",
        "Codes of failures are the gateway's own, the same as over HTTP.",
        "OpenAI's list has no word for a cancelled run, a timeout or a drain. Its clients take any string.",
    ),
    Rule(
        "ResponseErrorEvent",
        "A stream that can no longer be told in events ends with an `error` in the shape of Open Responses.",
        "The two shapes exclude each other: OpenAI's is flat.",
    ),
    Rule("store", "True by default; what is not to be stored is not there."),
    Rule(
        "background",
        "Answered at once, polled or streamed; leaving does not stop it; it ends for whoever asks, in every process.",
    ),
    Rule("background.store", "A response in the background must be stored."),
    Rule(
        "Response.output after a crash",
        "A response whose process died holds what its kept events tell, and no usage; the events can be read again.",
        "What the process had counted is gone with it.",
    ),
    Rule(
        "GET /responses/{response_id}",
        "The response as its client got it; somebody else's, a deleted and an unknown one are the same 404.",
    ),
    Rule(
        "GET /responses/{response_id}.include",
        "Ignored: all that there is is shown.",
        "Nothing is left out that could be included.",
    ),
    Rule(
        "starting_after",
        "The events behind that number, then live to the end; of responses in the background and of streams that linger.",
    ),
    Rule("include_obfuscation", "Accepted; streams bear no padding.", "The schema lets a server leave it out."),
    Rule(
        "POST /responses/{response_id}/cancel",
        "Stops a response in the background; again, or after its end, it changes nothing; in the foreground it is a 400.",
    ),
    Rule("Response.status cancelled", "Those who follow it get `response.failed` with the object that is cancelled."),
    Rule(
        "GET /responses/{response_id}/input_items",
        "What the response answered, in pages, with ids, in the schema's own shape.",
    ),
    Rule(
        "DELETE /responses/{response_id}",
        "Then it is gone, cannot be continued, and is stopped if it still runs; who follows it is told by an `error`.",
    ),
    Rule("stream_id", "Every event and error of a WebSocket's `response.create` that has one carries it."),
    Rule(
        "generate",
        "False is refused by name.",
        "It asks a model to get ready without an answer; there is nothing here that it would warm.",
    ),
    Rule("GET /models", "What the key may use."),
    Rule("GET /models/{model}", "One of them; ids may have slashes."),
)
