

import django.core.serializers.json
import django.db.models.deletion
import gateway_project.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.UUIDField(default=gateway_project.ids.new_run_id, editable=False, primary_key=True, serialize=False, verbose_name='run id')),
                ('status', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('completed', 'Completed'), ('failed', 'Failed'), ('aborted', 'Aborted'), ('rejected', 'Rejected')], max_length=16, verbose_name='status')),
                ('endpoint', models.CharField(choices=[('chat_completions', 'Chat Completions'), ('responses', 'Responses'), ('responses_compact', 'Responses, compact')], max_length=24, verbose_name='endpoint')),
                ('agent', models.CharField(blank=True, help_text="Name in GATEWAY['AGENTS'].", max_length=64, verbose_name='agent')),
                ('model', models.CharField(blank=True, help_text="The agent's own model that ran.", max_length=200, verbose_name='model')),
                ('requested_model', models.CharField(blank=True, help_text='What the client wrote in `model`.', max_length=200, verbose_name='requested model')),
                ('streaming', models.BooleanField(default=False, verbose_name='streaming')),
                ('background', models.BooleanField(default=False, help_text='Meant to run on without its client, which comes back for the answer.', verbose_name='background')),
                ('parent_run', models.UUIDField(blank=True, help_text='The run of the response that this one continues.', null=True, verbose_name='parent run')),
                ('worker', models.CharField(blank=True, help_text='The process that owned the run.', max_length=32, verbose_name='worker')),
                ('principal_kind', models.CharField(blank=True, max_length=24, verbose_name='principal kind')),
                ('principal_id', models.CharField(blank=True, max_length=64, verbose_name='principal id')),
                ('principal_label', models.CharField(blank=True, max_length=150, verbose_name='principal')),
                ('client_address', models.CharField(blank=True, max_length=64, verbose_name='client address')),
                ('user_agent', models.CharField(blank=True, max_length=200, verbose_name='user agent')),
                ('client_request_id', models.CharField(blank=True, help_text='As sent in x-client-request-id or x-request-id.', max_length=128, verbose_name="client's request id")),
                ('received_at', models.DateTimeField(verbose_name='received')),
                ('started_at', models.DateTimeField(blank=True, null=True, verbose_name='agent started')),
                ('first_output_at', models.DateTimeField(blank=True, null=True, verbose_name='first output')),
                ('abort_requested_at', models.DateTimeField(blank=True, null=True, verbose_name='abort requested')),
                ('settled_at', models.DateTimeField(blank=True, help_text='When the agent really ended.', null=True, verbose_name='agent settled')),
                ('finished_at', models.DateTimeField(blank=True, null=True, verbose_name='finished')),
                ('abort_cause', models.CharField(blank=True, choices=[('client_disconnect', 'Client disconnected'), ('client_cancelled', 'Cancelled by the client'), ('operator_cancelled', 'Cancelled by an operator'), ('timeout', 'Timeout'), ('shutdown', 'Server shutdown'), ('worker_lost', 'Worker lost'), ('slow_reader', 'Slow reader')], max_length=24, verbose_name='abort cause')),
                ('abort_phase', models.CharField(blank=True, choices=[('reading', 'Reading the request'), ('authenticating', 'Authenticating'), ('queued', 'Waiting in the queue'), ('preparing', 'Preparing'), ('before_output', 'Before the first output'), ('streaming', 'Output under way'), ('finishing', 'Finishing')], max_length=16, verbose_name='abort phase')),
                ('abort_outcome', models.CharField(blank=True, choices=[('stopped', 'Stopped'), ('finished_first', 'Finished first'), ('unresponsive', 'Unresponsive'), ('errored', 'Error while stopping'), ('unknown', 'Unknown')], max_length=16, verbose_name='abort outcome')),
                ('abort_requested_by', models.CharField(blank=True, max_length=150, verbose_name='abort requested by')),
                ('abort_reason', models.CharField(blank=True, max_length=500, verbose_name='abort reason')),
                ('delivered', models.BooleanField(blank=True, help_text='The whole answer left for the client before the connection ended.', null=True, verbose_name='delivered')),
                ('http_status', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='HTTP status')),
                ('finish_reason', models.CharField(blank=True, max_length=24, verbose_name='finish reason')),
                ('events_sent', models.PositiveIntegerField(default=0, verbose_name='events sent')),
                ('bytes_sent', models.PositiveBigIntegerField(default=0, verbose_name='bytes sent')),
                ('tokens_sent', models.PositiveIntegerField(default=0, help_text='Of the output tokens, the share whose text was sent.', verbose_name='tokens sent')),
                ('input_tokens', models.PositiveIntegerField(blank=True, null=True, verbose_name='input tokens')),
                ('output_tokens', models.PositiveIntegerField(blank=True, null=True, verbose_name='output tokens')),
                ('cached_tokens', models.PositiveIntegerField(blank=True, null=True, verbose_name='cached tokens')),
                ('reasoning_tokens', models.PositiveIntegerField(blank=True, null=True, verbose_name='reasoning tokens')),
                ('usage_source', models.CharField(blank=True, choices=[('reported', 'Reported by the agent'), ('estimated', 'Estimated from the text')], max_length=12, verbose_name='usage source')),
                ('error_type', models.CharField(blank=True, max_length=64, verbose_name='error type')),
                ('error_code', models.CharField(blank=True, max_length=64, verbose_name='error code')),
                ('error_message', models.CharField(blank=True, max_length=500, verbose_name='error message')),
                ('parameters', models.JSONField(blank=True, default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder, help_text='Request fields that are recorded and bound to nothing, and sampling hints.', verbose_name='parameters')),
            ],
            options={
                'verbose_name': 'run',
                'verbose_name_plural': 'runs',
                'db_table': 'gateway_run',
                'ordering': ('-received_at', '-id'),
                'permissions': (('cancel_run', 'Can cancel a running run'),),
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['-received_at', '-id'], name='gateway_run_received'), models.Index(fields=['status', '-received_at', '-id'], name='gateway_run_status'), models.Index(fields=['principal_label', '-received_at', '-id'], name='gateway_run_principal'), models.Index(condition=models.Q(('abort_outcome', ''), _negated=True), fields=['abort_outcome', '-received_at', '-id'], name='gateway_run_outcome'), models.Index(condition=models.Q(('status__in', ['queued', 'running'])), fields=['worker'], name='gateway_run_open')],
            },
        ),
        migrations.CreateModel(
            name='RunNote',
            fields=[
                ('id', models.UUIDField(default=gateway_project.ids.uuid7, editable=False, primary_key=True, serialize=False, verbose_name='note id')),
                ('at', models.DateTimeField(verbose_name='at')),
                ('kind', models.CharField(choices=[('abort_requested', 'Abort requested'), ('second_cause', 'Second cause'), ('client_gone', 'Client gone, agent goes on'), ('resumed', 'Client came back'), ('late_end', 'Agent ended late'), ('second_end', 'Already closed by somebody else'), ('tool', 'Tool of the agent'), ('call_dropped', 'Call not permitted, dropped'), ('input', 'Input fetched')], max_length=24, verbose_name='kind')),
                ('by', models.CharField(blank=True, max_length=150, verbose_name='by')),
                ('text', models.CharField(blank=True, max_length=500, verbose_name='text')),
                ('run', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='notes', to='gateway_runs.run', verbose_name='run')),
            ],
            options={
                'verbose_name': 'run note',
                'verbose_name_plural': 'run notes',
                'db_table': 'gateway_run_note',
                'ordering': ('at', 'id'),
            },
        ),
        migrations.CreateModel(
            name='Worker',
            fields=[
                ('id', models.CharField(editable=False, max_length=32, primary_key=True, serialize=False, verbose_name='worker id')),
                ('host', models.CharField(max_length=255, verbose_name='host')),
                ('pid', models.PositiveIntegerField(verbose_name='process id')),
                ('boot_id', models.CharField(blank=True, help_text="Of the host's kernel, where it tells.", max_length=36, verbose_name='boot id')),
                ('started_at', models.DateTimeField(verbose_name='started')),
                ('lease_until', models.DateTimeField(verbose_name='lease until')),
                ('ended_at', models.DateTimeField(blank=True, help_text='When it ended in good order.', null=True, verbose_name='ended')),
                ('lost_at', models.DateTimeField(blank=True, help_text='When others found its lease lapsed.', null=True, verbose_name='lost')),
            ],
            options={
                'verbose_name': 'worker',
                'verbose_name_plural': 'workers',
                'db_table': 'gateway_worker',
                'ordering': ('-started_at', 'id'),
                'default_permissions': ('view',),
                'indexes': [models.Index(condition=models.Q(('ended_at__isnull', True), ('lost_at__isnull', True)), fields=['lease_until'], name='gateway_worker_alive')],
            },
        ),
    ]
