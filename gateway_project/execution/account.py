"""What a run's end writes into its record, and what of a failure others may see."""

import logging
import uuid

from gateway_project import clock
from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.execution.content import mode_of
from gateway_project.execution.outlet import OutletStats
from gateway_project.execution.progress import Progress
from gateway_project.runs.content.drafting import kept_beside
from gateway_project.runs.journal import JournalUnavailable
from gateway_project.runs.models import Run
from gateway_project.runs.record import RunRecord
from gateway_project.runs.sql import text_limits
from gateway_project.runs.vocabulary import AbortOutcome, AbortPhase, RunStatus, UsageSource

logger = logging.getLogger("gateway.run")


def fill_end(
    record: RunRecord,
    status: RunStatus,
    outcome: AbortOutcome | None,
    *,
    progress: Progress,
    stats: OutletStats,
    error: AgentError | None,
) -> None:
    """Complete `record` with all that is known at the end."""
    record.status = status
    record.abort_outcome = outcome or ""
    record.finished_at = clock.now()
    record.first_output_at = progress.first_output_at
    record.tokens_sent = progress.tokens_heard if stats.events else 0
    record.events_sent, record.bytes_sent, record.http_status = stats.events, stats.bytes, stats.http_status
    if outcome is not None:
        record.delivered = bool(record.delivered) and status is not RunStatus.ABORTED
    if status is RunStatus.COMPLETED:
        record.finish_reason = next(iter(progress.finish_reasons.values()), "")
    if progress.phase in (AbortPhase.QUEUED, AbortPhase.PREPARING):
        record.started_at = None  # The row said so before the agent was called; it never was.
    else:
        usage = progress.usage
        record.input_tokens, record.output_tokens = usage.input_tokens, usage.output_tokens
        record.cached_tokens, record.reasoning_tokens = usage.cached_tokens, usage.reasoning_tokens
        record.usage_source = UsageSource(usage.source)
    if error is not None:
        fill_error(record, error)


def fill_error(record: RunRecord, error: AgentError) -> None:
    """Write what went wrong into `record`; in somebody else's words as far as the run's content is kept."""
    record.error_type, record.error_code, record.error_message = error.type, error.code, error.message
    if error.record_as is not None:
        kept = kept_beside(error.message, mode_of(record), run_id=record.id, most=text_limits(Run)["error_message"])
        record.error_message = error.record_as if kept is None else kept


def public_error(failure: BaseException, *, run_id: uuid.UUID, agent: str) -> AgentError:
    """The failure as the client and the auditor may see it; anything unforeseen is logged and hidden."""
    if isinstance(failure, AgentError):
        return failure
    if isinstance(failure, JournalUnavailable):
        message = "The run could not be recorded. Please try again later."
        return AgentError(message, code="database_unavailable", status=503, retry_after=1)
    logger.error("run.failed", exc_info=failure, extra={"run_id": run_id, "agent": agent})
    return AgentMisbehaved("The agent failed.")
