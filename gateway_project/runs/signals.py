"""Django's signals of the gateway."""

from django.dispatch import Signal

run_ended_badly = Signal()
"""A run has ended ``unresponsive``, ``worker_lost`` or ``failed``, and that is committed.

Sent with ``sender=Run``, ``run_id`` (UUID), ``event`` (one of the three) and ``data`` (a dict, as in the webhook's
payload), in a thread of its own, outside of the event loop and of any transaction, by the process whose journal wrote
the end; by another one when that dies before, so that a receiver may hear of an end twice, and should be quick: after
a minute without a return others try. A receiver that raises is logged, and harms nobody.
"""
