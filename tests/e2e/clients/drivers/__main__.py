"""Does with a client what its standard input says, a JSON object a line, and prints what came of it.

It runs in the clients' own virtualenv. A command names the client (a module beside this file) and the scenario (a
function of it); the other keys are the function's: ``base_url``, ``api_key``, ``endpoint`` and ``model``.
"""

import importlib
import json
import sys
from types import SimpleNamespace


def main() -> None:
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        command = SimpleNamespace(**json.loads(line))
        try:
            scenario = getattr(importlib.import_module(command.client), command.scenario)
            reply = scenario(command)
        except Exception as error:  # noqa: BLE001 - whatever the client raises is its answer
            reply = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(reply), file=replies, flush=True)


main()
