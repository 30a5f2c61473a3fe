"""``python -m tests.scale [--runs N] [--keep]``: exits with 1 when a page is too slow or scans the table."""

import argparse
import os
import sys
from urllib.parse import urlsplit

import psycopg

from tests import services

NAME = "gateway_scale"
MOST_MS = 100


def main() -> int:
    """Make a database of its own, fill it, ask for each page, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5_000_000)
    parser.add_argument("--keep", action="store_true", help="keep the database, and take it as it is the next time")
    options = parser.parse_args()
    if reason := services.missing("postgres"):
        print(f"PostgreSQL is needed: {reason}", file=sys.stderr)
        return 2
    url = urlsplit(services.POSTGRES_URL)._replace(path=f"/{NAME}").geturl()
    os.environ |= {"DATABASE_URL": url, "SECRET_KEY": "only-for-the-scale-test", "ALLOWED_HOSTS": "testserver"}
    os.environ["DJANGO_SETTINGS_MODULE"] = "gateway_project.settings"
    is_new = _create()
    import django

    django.setup()
    from tests.scale import pages, rows

    try:
        pages.migrate()
        if is_new:
            rows.fill(url, options.runs)
        results = pages.measure()
    finally:
        pages.disconnect()
        if not options.keep:
            _drop()
    width = max(len(result.name) for result in results)
    print(f"{'page':<{width}}  queries  database ms")
    for result in results:
        wrong = "TOO SLOW" if result.milliseconds > MOST_MS else ""
        print(f"{result.name:<{width}}  {result.queries:>7}  {result.milliseconds:>11.1f}  {wrong}")
        for plan in result.scans:
            print(f"    SCANS THE TABLE: {plan}")
    return 1 if any(result.scans or result.milliseconds > MOST_MS for result in results) else 0


def _create() -> bool:
    with psycopg.connect(services.POSTGRES_URL, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone()
        if not found:
            connection.execute(f"CREATE DATABASE {NAME}".encode())
        return not found


def _drop() -> None:
    with psycopg.connect(services.POSTGRES_URL, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {NAME}".encode())


if __name__ == "__main__":
    sys.exit(main())
