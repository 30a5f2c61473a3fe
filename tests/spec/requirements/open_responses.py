"""Open Responses (2026-04-24): ``POST /v1/responses`` and ``/v1/responses/compact``, over HTTP and WebSocket.

Source: its text and its OpenAPI file.
"""

from .requirement import Requirement as Rule

_REQUEST = (
    Rule(
        "CreateResponseBody",
        "Every field of the schema is honoured, recorded or refused by its name; keys that it does not know are ignored.",
    ),
    Rule("model", "Required. One that is not there, or not for this key, is a 404 `model_not_found`."),
    Rule("input", "Required, and not empty; a string is one user message."),
    Rule(
        "ItemParam",
        "Items of an answer are taken back as they were sent, with their ids and statuses; a message needs no type. Unknown items are refused by their place.",
    ),
    Rule("UserMessageItemParam", "A string or parts."),
    Rule("AssistantMessageItemParam", "A string, or parts of text and refusals."),
    Rule("SystemMessageItemParam", "Also as `developer`: a string or parts."),
    Rule("InputTextContentParam", "Parts keep their order and kind."),
    Rule("InputImageContentParam", "An image in the input reaches the agent."),
    Rule("InputFileContentParam", "A file in the input reaches the agent."),
    Rule(
        "InputVideoContent",
        "Refused by its place.",
        "No agent sees moving pictures, and no other protocol here has them.",
    ),
    Rule("FunctionCallItemParam", "Calls in a row are one turn of the assistant."),
    Rule(
        "FunctionCallOutputItemParam",
        "Answers a call before it, in the input or in what it continues; a string or parts.",
    ),
    Rule("ReasoningItemParam", "Taken back, and not shown to the agent: no agent reads another's reasoning."),
    Rule("ItemReferenceParam", "Stands for an item of a stored response, of the same key only."),
    Rule("CompactionSummaryItemParam", "Stands for what was said before; one that was not made here is refused."),
    Rule("phase", "Of assistant messages: accepted in the input, told in the output, kept."),
    Rule("instructions", "Lead as a system message; not carried over by `previous_response_id`."),
    Rule(
        "previous_response_id",
        "Earlier input, earlier output, new input, in this order and recursively; one that is not there, expired, not stored or somebody else's is a 400 `previous_response_not_found`.",
    ),
    Rule("tools", "Functions reach the agent; an agent that cannot call functions refuses them by name."),
    Rule(
        "tools (hosted)",
        "Left out, and the record says which; a choice that asks for one is refused by name.",
        "The server runs no tools of its own. Clients offer them by default and do without: refusing would shut them out.",
    ),
    Rule("tool_choice", "`auto`, `none`, `required`, or a function that must be among the tools."),
    Rule("tool_choice.none", "No call goes out."),
    Rule("tool_choice.required", "An answer without a call is an error and not a word of it goes out."),
    Rule("tool_choice.function", "The named function is called, and no other."),
    Rule(
        "tool_choice.allowed_tools",
        "All tools are shown to the agent; a call of another than the allowed does not go out.",
    ),
    Rule("parallel_tool_calls", "False: at most one call goes out."),
    Rule("max_tool_calls", "At least 1; calls beyond it do not go out."),
    Rule(
        "text",
        "The format (`text`, `json_object`, `json_schema` with name and schema) and the verbosity reach the agent.",
    ),
    Rule("max_output_tokens", "At least 16; bounds the answer, which is then incomplete."),
    Rule("temperature", "0 to 2."),
    Rule("top_p", "0 to 1."),
    Rule("presence_penalty", "-2 to 2."),
    Rule("frequency_penalty", "-2 to 2."),
    Rule("top_logprobs", "0 to 20; log probabilities come only when `include` asks for them."),
    Rule(
        "include",
        "`message.output_text.logprobs`; values that name what never exists here are accepted, unknown ones refused by their place.",
    ),
    Rule(
        "reasoning.encrypted_content",
        "Accepted in `include`; reasoning items never have it.",
        "No agent here tells its reasoning encrypted.",
    ),
    Rule("reasoning", "Effort and summary reach the agent."),
    Rule("stream", "Ends with the object that a plain answer is."),
    Rule(
        "stream_options",
        "`include_obfuscation` is accepted; streams bear no padding, with either value.",
        "Padding hides lengths from who sees the encrypted traffic. The schema lets a server leave it out; a proxy that compresses or batches undoes it.",
    ),
    Rule("truncation", "`disabled` or `auto`; what is too long is an error, nothing is ever cut silently."),
    Rule("metadata", "Up to 16 pairs of 64 and 512 characters: recorded, echoed, and shown to the agent."),
    Rule("store", "True by default; false: the response cannot be read again nor continued."),
    Rule("background", "Answered at once, and worked on without its client; must be stored."),
    Rule("service_tier", "Recorded; the tier that was used is told: `default`."),
    Rule("safety_identifier", "Up to 64 characters; recorded and echoed."),
    Rule("prompt_cache_key", "Up to 64 characters; recorded and echoed."),
)

_ANSWER = (
    Rule("ResponseResource", "All 31 fields, every time: what was asked is echoed as what holds, numbers never null."),
    Rule("ResponseResource.tools", "Functions are echoed with all five keys."),
    Rule(
        "ResponseResource.usage",
        "Null until the end; then tokens in, out and together, with the cached and those of reasoning.",
    ),
    Rule("ResponseResource.error", "Code and message, only of a failure."),
    Rule("ResponseResource.incomplete_details", "`max_output_tokens` or `content_filter`, only of an incomplete one."),
    Rule("ResponseResource.completed_at", "In whole seconds, only of a completed one."),
    Rule(
        "Message",
        "Text with its annotations and log probabilities, refusals apart, and its phase if the agent told one.",
    ),
    Rule("FunctionCall", "`id` and `call_id` differ; the arguments are a JSON string."),
    Rule("ReasoningBody", "The raw text in `content`, what is told again of it in `summary`."),
    Rule(
        "Annotations",
        "Always an empty list.",
        "They come of hosted search and files; no agent event carries a citation.",
    ),
    Rule(
        "Extensions",
        "No item, tool or event of ours is named `slug:name`; such items in the input are refused by their place.",
        "There is nothing to extend: an agent's own tools are for the auditor, not for the client.",
    ),
)

_STREAM = (
    Rule(
        "Streaming",
        "One event a frame, `event` and `data` in one write, no `id`; every event of every stream keeps to the schema.",
    ),
    Rule("data: [DONE]", "The last frame, after the terminal event."),
    Rule("sequence_number", "From 0, one more for each event, without a gap."),
    Rule(
        "Items are state machines",
        "In progress, then once completed or incomplete; only the last may be incomplete, and then the response is.",
    ),
    Rule(
        "Items are streamable",
        "Added empty, parts added, deltas, done, item done; the deltas joined are the text, the part, the item and the output.",
    ),
    Rule("response.created", "First, with the whole object and no output."),
    Rule("response.queued", "Second, of responses in the background, which wait."),
    Rule("response.in_progress", "Before the first item."),
    Rule("response.output_item.added", "Indexes follow each other; a call has its name from here on."),
    Rule("response.content_part.added", "Before the first delta of a part, and empty."),
    Rule("response.output_text.delta", "With its log probabilities, if asked for; `done` has the whole."),
    Rule("response.refusal.delta", "A refusal is a part of the message."),
    Rule("response.function_call_arguments.delta", "Without a part; `done` has the whole."),
    Rule("response.reasoning.delta", "The raw text of reasoning."),
    Rule("response.reasoning_summary_part.added", "A summary has parts of its own, before its deltas and empty."),
    Rule("response.reasoning_summary_text.delta", "What is told again of the reasoning; `done` has the whole."),
    Rule("response.output_item.done", "The item as it stands in the output."),
    Rule("response.completed", "The one terminal event when all went well."),
    Rule("response.incomplete", "The one terminal event when the tokens ran out or a filter cut in."),
    Rule(
        "response.failed",
        "The one terminal event of a failure and of a run that others stopped, with code and message.",
    ),
    Rule(
        "error",
        "No such event before `response.failed`, which has the same code and message.",
        "The official Python client raises at an `error` event and never sees the response that failed. Only a stream that can no longer be told in events ends with one.",
    ),
    Rule("response.output_text.annotation.added", "Never sent.", "There are no annotations."),
)

_REST = (
    Rule("ErrorPayload", "Every error is JSON with message, type, param and code; `param` names the field."),
    Rule(
        "Errors",
        "What is wrong before the first byte is an HTTP status, streamed or not; later it is `response.failed`.",
    ),
    Rule(
        "POST /responses/compact",
        "What comes out, with a new message behind it, is a new input; a missing model is a 400.",
    ),
    Rule("compliance suite", "The cases of the official suite are asked of a real server."),
    Rule("x-request-id", "Every reply has one: the run's id."),
    Rule(
        "disconnect",
        "When the client goes away the agent is stopped, streamed or not, but for what runs in the background.",
    ),
)

_WEBSOCKET = (
    Rule(
        "WebSocket",
        "At the same path, with the key checked at the handshake: the same events, one a frame, one response after the other.",
    ),
    Rule(
        "WebSocketResponseCreateEvent",
        "The body of a request; `stream`, `stream_options` and `background` are refused by name.",
    ),
    Rule("WebSocketErrorEvent", "Status, code and message; the connection stays open."),
    Rule("WebSocket store", "What is not stored is remembered by its connection alone."),
    Rule(
        "WebSocket previous_response_id",
        "Continues from the connection's memory; a continuation that failed is forgotten.",
    ),
    Rule("websocket_connection_limit_reached", "Said when a connection is as old as it may get; then it closes."),
)

REQUIREMENTS = (*_REQUEST, *_ANSWER, *_STREAM, *_REST, *_WEBSOCKET)
