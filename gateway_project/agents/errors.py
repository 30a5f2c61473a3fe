"""How an agent says that it failed, with what the client needs to act."""

_STATUSES = range(400, 600)


class AgentError(Exception):
    """A failure that the client may know of. `message` must hold no secret.

    `status` is the HTTP status that fits (used when no byte was sent yet); what is no error's is taken for 500.
    `retry_after` is in seconds, or None.

    `record_as` is for a message in somebody else's words, such as an upstream's, which may quote what was asked: the
    sentence that stands in the run's record instead, where the run's content mode keeps no texts.
    """

    code = "agent_error"
    type = "server_error"
    status = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        type: str | None = None,
        status: int | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        record_as: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.type = type or self.type
        if status is not None:
            self.status = status if status in _STATUSES else AgentError.status
        self.param = param
        self.retry_after = retry_after
        self.record_as = record_as


class UnsupportedRequest(AgentError):
    """The agent cannot do what the request asks for. `param` names the field."""

    code = "unsupported_parameter"
    type = "invalid_request_error"
    status = 400


class ModelNotFound(AgentError):
    """No such model here, or not for this key."""

    code = "model_not_found"
    type = "invalid_request_error"
    status = 404

    def __init__(self, model: str) -> None:
        super().__init__(f"The model {model!r} does not exist or you do not have access to it.", param="model")


class ContextOverflow(AgentError):
    """The conversation does not fit into the model's context."""

    code = "context_length_exceeded"
    type = "invalid_request_error"
    status = 400


class UpstreamError(AgentError):
    """The system behind the agent failed or could not be reached."""

    code = "upstream_error"
    status = 502


class UpstreamTimeout(UpstreamError):
    """The system behind the agent did not answer in time."""

    code = "upstream_timeout"
    status = 504


class ToolChoiceNotSatisfied(AgentError):
    """The answer does not keep to the request's ``tool_choice``. Asked again, a model may."""

    code = "tool_choice_not_satisfied"
    status = 502


class AgentMisbehaved(AgentError):
    """The agent broke its contract: it ended without a `Finish`, or raised what is not an error of ours."""

    code = "internal_error"
    status = 500
