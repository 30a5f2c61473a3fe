"""OpenAI's Chat Completions: ``POST /v1/chat/completions``. Source: OpenAI's OpenAPI file, and its official clients."""

from .requirement import Requirement as Rule

_NO_AUDIO = "No agent speaks: the answer is text."
_NOT_KEPT = "The answer is not kept; what is kept is the record of the run. Stored responses are `/v1/responses`' part."

_REQUEST = (
    Rule(
        "CreateChatCompletionRequest",
        "Every field of the schema is honoured, recorded or refused by its name; keys that it does not know are ignored.",
    ),
    Rule("messages", "At least one; their order, roles, names and texts reach the agent."),
    Rule("ChatCompletionRequestDeveloperMessage", "Also as `system`: a string or parts of text."),
    Rule("ChatCompletionRequestUserMessage", "A string or parts."),
    Rule("ChatCompletionRequestUserMessageContentPart", "Parts are text, images, audio and files."),
    Rule(
        "ChatCompletionRequestAssistantMessage",
        "May lack content only if it has calls or a refusal; its parts are text and refusals.",
    ),
    Rule("ChatCompletionRequestToolMessage", "Answers a call of an assistant message before it, by `tool_call_id`."),
    Rule(
        "ChatCompletionRequestFunctionMessage",
        "The old form of a result: answers an earlier call by the function's name.",
    ),
    Rule("model", "Required. One that is not there, or not for this key, is a 404 `model_not_found`."),
    Rule("stream", "Says the same in pieces as the whole body does at once."),
    Rule("stream_options", "Only with `stream`."),
    Rule(
        "stream_options.include_usage",
        "Usage comes in one more chunk without choices before `[DONE]`, null in the others; not asked for, there is no such key.",
    ),
    Rule(
        "stream_options.include_obfuscation",
        "Accepted; streams bear no padding, with either value.",
        "Padding hides lengths from who sees the encrypted traffic. The schema lets a server leave it out; a proxy that compresses or batches undoes it.",
    ),
    Rule("tools", "Up to 128 functions reach the agent; one that cannot call functions refuses them by name."),
    Rule(
        "tools.custom",
        "Refused by name.",
        "A custom tool has free text where functions have JSON: no agent contract carries it.",
    ),
    Rule("tool_choice", "`auto`, `none`, `required`, or a function that must be among the tools."),
    Rule("tool_choice.none", "No call goes out."),
    Rule("tool_choice.required", "An answer without a call is an error and not a word of it goes out."),
    Rule(
        "tool_choice.allowed_tools",
        "All tools are shown to the agent; a call of another than the allowed does not go out.",
    ),
    Rule("parallel_tool_calls", "False: at most one call goes out."),
    Rule(
        "response_format",
        "`json_object` and `json_schema` reach the agent; one that cannot keep to them refuses them by name.",
    ),
    Rule("max_completion_tokens", "Bounds the answer, which then ends with `length`; goes before its old name."),
    Rule("max_tokens", "The old name of `max_completion_tokens`."),
    Rule("stop", "A string or up to four; the answer ends before the first that comes, which is not in it."),
    Rule("n", "1 to 128 choices; an agent that has only one refuses more by name."),
    Rule("logprobs", "Asks for the tokens' log probabilities; an agent that has none refuses it by name."),
    Rule("top_logprobs", "0 to 20 alternatives a token; needs `logprobs`."),
    Rule("temperature", "0 to 2."),
    Rule("top_p", "0 to 1."),
    Rule("presence_penalty", "-2 to 2."),
    Rule("frequency_penalty", "-2 to 2."),
    Rule("seed", "A 64-bit integer."),
    Rule("logit_bias", "Tokens with a bias of -100 to 100 reach the agent, a hint as all of sampling."),
    Rule("reasoning_effort", "One of the schema's words."),
    Rule("verbosity", "One of the schema's words."),
    Rule("metadata", "Up to 16 pairs of 64 and 512 characters: recorded, and shown to the agent."),
    Rule("user", "Recorded."),
    Rule("safety_identifier", "Up to 64 characters; recorded."),
    Rule("prompt_cache_key", "Recorded."),
    Rule("prompt_cache_retention", "Recorded."),
    Rule("prompt_cache_options", "Recorded."),
    Rule("service_tier", "Recorded: there is one tier."),
    Rule("prediction", "That there was one is recorded; a hint that no agent takes."),
    Rule("store", "Recorded, and no more.", _NOT_KEPT),
    Rule("functions", "The old form of tools: answered in the old form, with one call at most."),
    Rule("function_call", "The old form of `tool_choice`; needs `functions`."),
    Rule("modalities", 'Only `["text"]`; anything else is refused by name.', _NO_AUDIO),
    Rule("audio", "Refused by name.", _NO_AUDIO),
    Rule(
        "web_search_options",
        "Refused by name.",
        "The server runs no tools of its own; an agent may search, unseen by the client.",
    ),
    Rule("moderation", "Refused by name.", "Nothing here judges texts: a service in front or the agent itself does."),
    Rule(
        "GET /chat/completions",
        "Nor its siblings below: 404 where no other application answers, 405 at the path itself.",
        _NOT_KEPT,
    ),
)

_ANSWER = (
    Rule("CreateChatCompletionResponse", "Every body keeps to the schema."),
    Rule("id", "`chatcmpl-` and the run's id."),
    Rule("choices", "One for each that was asked for, in the order of their index."),
    Rule("message.content", "Null when there are only calls or a refusal."),
    Rule("message.tool_calls", "Left out when there are none."),
    Rule("message.refusal", "Apart from the content; the key is always there."),
    Rule("message.reasoning_content", "Not in the schema: the name that servers of open models tell reasoning under."),
    Rule("finish_reason", "`stop`, `length`, `tool_calls`, `content_filter`, or `function_call` in the old form."),
    Rule("choices.logprobs", "The content's and the refusal's tokens, both keys, or null."),
    Rule("usage", "Tokens in, out and together, with the cached and those of reasoning; of all choices together."),
    Rule("system_fingerprint", "Left out, never null.", "No agent tells which build of a model answered."),
    Rule("message.annotations", "Left out.", "They come of the hosted web search, which is not here."),
    Rule("message.audio", "Left out.", _NO_AUDIO),
)

_STREAM = (
    Rule("CreateChatCompletionStreamResponse", "Every chunk of every stream keeps to the schema."),
    Rule("data: [DONE]", "Frames are one line of data each, and this is the last, after an error too."),
    Rule("chat.completion.chunk", "All chunks have the same id, created and model."),
    Rule("delta.role", "In the first delta of each choice, and only there."),
    Rule("delta.content", "The pieces joined are the content of the body."),
    Rule(
        "delta.tool_calls",
        "The first piece of an index has id, type and name, the later ones only arguments; one call's pieces come before the next's.",
    ),
    Rule("delta.function_call", "A call in the old form."),
    Rule("delta.refusal", "The pieces of a refusal."),
    Rule(
        "chunk.choices.finish_reason",
        "Null until the last delta of a choice, which is empty; nothing of the choice comes after it.",
    ),
    Rule("chunk.choices.index", "With several choices the chunks may interleave; each ends with a reason of its own."),
    Rule("chunk.choices.logprobs", "The tokens of just this delta."),
    Rule("error in a stream", 'A frame `{"error": …}` instead of a finish reason, then the end.'),
)

_REST = (
    Rule("Error", "Every error is JSON with message, type, param and code; `param` names the field."),
    Rule("before the first byte", "What is wrong before the first byte is an HTTP status, streamed or not."),
    Rule("401", "A missing or wrong key: `invalid_api_key`, and nothing runs."),
    Rule("429", "A full queue or a used up rate, with `Retry-After`."),
    Rule("x-request-id", "Every reply has one: the run's id."),
    Rule(
        "x-should-retry",
        "Tells the official clients not to start again what was cancelled or timed out, and to try again where it helps.",
    ),
    Rule("disconnect", "When the client goes away the agent is stopped, streamed or not."),
)

REQUIREMENTS = (*_REQUEST, *_ANSWER, *_STREAM, *_REST)
