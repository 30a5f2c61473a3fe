"""Millions of runs, made in the database itself: a list of kinds in the shares of a busy month, spread over 30 days."""

import psycopg

from tests.review.plans import CHAINS, CONTENTS

COPIES = """
INSERT INTO gateway_run (
    id, status, endpoint, agent, model, requested_model, streaming, background, parent_run, worker,
    principal_kind, principal_id, principal_label, client_address, user_agent, client_request_id,
    received_at, started_at, first_output_at, abort_requested_at, settled_at, finished_at,
    abort_cause, abort_phase, abort_outcome, abort_requested_by, abort_reason, delivered, http_status, finish_reason,
    events_sent, bytes_sent, tokens_sent, input_tokens, output_tokens, cached_tokens, reasoning_tokens, usage_source,
    error_type, error_code, error_message, parameters)
SELECT
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid,
    status,
    (ARRAY['chat_completions', 'responses', 'responses_compact'])[CASE WHEN n % 10007 = 0 THEN 3 ELSE 1 + n % 2 END],
    CASE WHEN n % 99991 = 0 THEN 'retired' ELSE 'agent-' || n % 3 END,
    'model-' || n % 7, 'agent-' || n % 3 || '/model-' || n % 7, n % 3 > 0, n % 51 = 0,
    CASE WHEN n % 5 = 0 THEN md5((n / 7)::text)::uuid END,
    'worker-' || n / 50000,
    'api_key', (n % 400)::text, 'key number ' || n % 400, '10.' || n % 3 || '.' || n % 200 || '.' || n % 250,
    'agent/1.0', CASE WHEN n % 3 > 0 THEN md5((n * 31)::text) ELSE '' END,
    at,
    CASE WHEN status <> 'rejected' THEN at + interval '3 ms' END,
    CASE WHEN status = 'completed' THEN at + interval '120 ms' END,
    CASE WHEN is_told THEN told_at END,
    CASE WHEN status = 'running' OR outcome = 'unresponsive' THEN NULL
         WHEN is_told THEN told_at + interval '1 ms' * stopping_ms
         ELSE at + interval '1 s' * working_s END,
    CASE WHEN status = 'running' THEN NULL
         WHEN is_told THEN told_at + interval '1 ms' * (stopping_ms + 1)
         ELSE at + interval '1 s' * working_s END,
    CASE WHEN is_told THEN (ARRAY['client_disconnect', 'client_cancelled', 'operator_cancelled', 'timeout',
        'slow_reader', 'shutdown', 'client_disconnect'])[1 + n % 7] ELSE '' END,
    CASE WHEN is_told THEN (ARRAY['before_output', 'streaming', 'finishing', 'preparing'])[1 + n % 4] ELSE '' END,
    outcome, CASE WHEN is_told THEN 'somebody' ELSE '' END, '',
    CASE WHEN status = 'running' THEN NULL ELSE status = 'completed' AND n % 500 > 0 END,
    CASE WHEN status = 'running' THEN NULL ELSE 200 END, CASE WHEN status = 'completed' THEN 'stop' ELSE '' END,
    40, 9000, 38, 120, CASE WHEN status = 'completed' THEN 400 ELSE 38 END, 0, 0, 'reported',
    CASE WHEN status = 'failed' THEN 'server_error' ELSE '' END,
    CASE WHEN status = 'failed' THEN 'upstream_down' ELSE '' END, '', '{{}}'::jsonb
FROM (
    SELECT n, at, status, is_told, at + interval '900 ms' AS told_at, 1 + n % 9 AS working_s,
        CASE WHEN n % 7001 = 0 THEN 1500 ELSE 1 + n % 40 END AS stopping_ms,
        CASE WHEN NOT is_told THEN '' WHEN n % 900 = 0 THEN 'unresponsive' WHEN n % 90 = 0 THEN 'errored'
             ELSE 'stopped' END AS outcome
    FROM (
        SELECT n, now() - interval '30 days' * (1 - n::float8 / {total}) - interval '5 s' AS at,
            n % 10 = 0 AND n < {total} - 100 AS is_told,
            CASE WHEN n > {total} - 100 THEN 'running' WHEN n % 10 = 0 THEN 'aborted' WHEN n % 101 = 0 THEN 'failed'
                 WHEN n % 211 = 0 THEN 'rejected' ELSE 'completed' END AS status
        FROM generate_series({first}::bigint, {last}::bigint) AS n
    ) AS dated
) AS kinds
"""
"""Shaped like runs, not made by the journal: a tenth told to stop, few slow, few unresponsive, a hundred running."""

LABELS = """
INSERT INTO gateway_run_label (run_id, name, value)
SELECT id, 'user', 'customer ' || abs(hashtext(id::text) % 20000) FROM gateway_run
UNION ALL
SELECT id, 'metadata.tier', CASE WHEN hashtext(id::text) % 10 = 0 THEN 'gold' ELSE 'basic' END FROM gateway_run
"""
"""Each run has a label that few runs share, and one that many do."""

LOOKS = """
INSERT INTO gateway_access_record (at, what, via, who_kind, who_id, who, run, asked, address)
SELECT received_at, CASE WHEN n % 50 = 0 THEN 'content' WHEN n % 3 = 0 THEN 'list' ELSE 'run' END, 'admin',
    'user', (n % 100)::text, 'user ' || n % 100,
    CASE WHEN n % 50 > 0 AND n % 3 = 0 THEN NULL ELSE id END, '', '10.0.0.1'
FROM (SELECT id, received_at, row_number() OVER () AS n FROM gateway_run LIMIT {total} / 5) AS looked
"""
"""A fifth as many looks as runs, by a hundred people; none by the command line, none removed."""

RESPONSES = """
INSERT INTO gateway_response (
    id, principal_kind, principal_id, previous, status, background, created_at, expires_at, request, input, body)
SELECT id, principal_kind, principal_id, parent_run,
    CASE status WHEN 'running' THEN 'in_progress' WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed'
         ELSE CASE WHEN abort_cause = 'timeout' THEN 'cancelled' ELSE 'failed' END END,
    background, received_at, received_at + interval '30 days', '', '[]', repeat('{"type": "message"}, ', 20)
FROM gateway_run WHERE endpoint = 'responses' AND status <> 'rejected'
"""
"""Half of the runs are responses that are kept; none is incomplete or queued, few run in the background."""

ALERTS = """
INSERT INTO gateway_run_alert (id, run, target, event, payload, attempts, due_at, created_at)
SELECT gen_random_uuid(), id, 'signal', CASE WHEN n % 1000 = 0 THEN 'run.worker_lost' ELSE 'run.failed' END, '{}', 3,
    received_at, received_at
FROM (SELECT id, received_at, row_number() OVER () AS n FROM gateway_run WHERE status = 'failed' LIMIT 10000) AS bad
"""
"""A receiver has been away for long: as many failed runs wait to be told as may."""

_AT_ONCE = 250_000
_INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE tablename = 'gateway_run' AND indexdef NOT LIKE '%UNIQUE%' ORDER BY 1
"""


def fill(url: str, total: int) -> None:
    """Make `total` runs. The indexes are laid aside for that and made again: that takes a third of the time."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '256MB'")
        indexes = connection.execute(_INDEXES).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        for first in range(1, total + 1, _AT_ONCE):
            last = min(total, first + _AT_ONCE - 1)
            connection.execute(COPIES.format(first=first, last=last, total=total).encode())
            print(f"{last:>12,} runs", flush=True)
        for name, definition in indexes:
            connection.execute(definition.encode())
            print(f"    {name}", flush=True)
        connection.execute(LABELS)
        print("    labels", flush=True)
        connection.execute(CONTENTS)
        print("    contents", flush=True)
        connection.execute(CHAINS)
        connection.execute(LOOKS.format(total=total).encode())
        print("    looks", flush=True)
        connection.execute(RESPONSES)
        print("    responses", flush=True)
        connection.execute(ALERTS)
        connection.execute(
            "VACUUM ANALYZE gateway_run, gateway_run_label, gateway_run_content, gateway_chain, gateway_access_record, "
            "gateway_response, gateway_run_alert"
        )
