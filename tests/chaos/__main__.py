"""``python -m tests.chaos --seconds 60 [--seed N]``: exits with 1 when the books do not balance.

Starts a PostgreSQL and a Redis of its own.
"""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests import services
from tests.chaos.storm import storm


def main() -> int:
    """Run, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="of the faults and the clients; timing stays free")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    options = parser.parse_args()
    if reasons := [reason for name in ("postgres-server", "redis-server") if (reason := services.missing(name))]:
        print(*reasons, sep="\n", file=sys.stderr)
        return 2
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="gateway-chaos-"))
    print(f"seed          {seed}", flush=True)
    try:
        books = storm(folder, seconds=options.seconds, seed=seed)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(books)
    if options.keep:
        print(f"logs          {folder}")
    return 0 if books.is_balanced else 1


if __name__ == "__main__":
    sys.exit(main())
