"""The journal's transactions where the database's own are stricter. `tests/test_postgresql.py` runs this file there."""

import asyncio
from pathlib import Path

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.journal import Journal, Query

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has several levels of isolation"),
]


def level(of: BaseDatabaseWrapper) -> str:
    with of.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        return str(cursor.fetchone()[0])


async def test_they_see_what_others_have_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stricter = {"options": "-c default_transaction_isolation=serializable"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", connection.settings_dict["OPTIONS"] | stricter)
    journal = Journal("default", spill=tmp_path)
    try:
        assert await journal.write(Query(level), within=10) == "read committed"
    finally:
        assert await asyncio.to_thread(journal.stop, 10)
