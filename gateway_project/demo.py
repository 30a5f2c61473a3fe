"""``make run``: the whole thing for a trial. Migrates, makes a key and a login once, prints them, and serves.

What it makes stands in `.gateway/env`, readable by its owner only; delete the folder to start anew.
"""

import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path

STATE = Path(__file__).resolve().parent.parent / ".gateway"
ADMIN_NAME = "admin"
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)


def main() -> None:
    """Prepare, then become daphne."""
    secret = _Secrets(STATE / "env")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    os.environ.setdefault("SECRET_KEY", secret.get("SECRET_KEY", lambda: secrets.token_urlsafe(48)))
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
    _allow(host)

    import django
    from django.core.management import call_command

    django.setup()
    call_command("check", "--fail-level", "ERROR", verbosity=0)
    call_command("migrate", verbosity=0)
    key = _demo_key(secret)
    password = _admin_password(secret)
    sys.stdout.write(_greeting(host, port, key, password))
    sys.stdout.flush()
    daphne = Path(sys.executable).with_name("daphne")
    arguments = [str(daphne), "-b", host, "-p", port, "gateway_project.asgi:application"]
    os.execv(daphne, arguments)  # noqa: S606 (our own interpreter's daphne)


class _Secrets:
    """``NAME=value`` lines in a file that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self._values = dict(line.split("=", 1) for line in lines if "=" in line)

    def get(self, name: str, make: Callable[[], str]) -> str:
        """The value of `name`, made and kept if it is not there."""
        if name not in self._values:
            self.put(name, make())
        return self._values[name]

    def put(self, name: str, value: str) -> None:
        """Keep a value."""
        self._values[name] = value
        text = "".join(f"{key}={item}\n" for key, item in self._values.items())
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)


def _allow(host: str) -> None:
    """The address that daphne is told to listen on is one that clients may name; of all addresses each."""
    allowed = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
    names = _own_names() if host in _ANY_ADDRESS else [host]
    os.environ["ALLOWED_HOSTS"] = ",".join([*allowed, *(name for name in names if name not in allowed)])


def _own_names() -> list[str]:
    """This machine's name and addresses, as it knows them."""
    name = socket.gethostname()
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(name, None)}
    except OSError:
        found = set()
    return [name, *sorted(f"[{address}]" if ":" in address else address for address in found)]


def _demo_key(secret: _Secrets) -> str:
    from gateway_project.access.models import APIKey

    def make() -> str:
        return APIKey.objects.create_key("demo")[1]

    key = secret.get("DEMO_KEY", make)
    if APIKey.objects.find(key) is None:  # another database, or revoked
        key = make()
        secret.put("DEMO_KEY", key)
    return key


def _admin_password(secret: _Secrets) -> str | None:
    """The admin's password; None when somebody changed it."""
    from django.contrib.auth import get_user_model

    users = get_user_model()._default_manager
    password = secret.get("ADMIN_PASSWORD", lambda: secrets.token_urlsafe(12))
    user = users.filter(username=ADMIN_NAME).first()
    if user is None:
        users.create_superuser(ADMIN_NAME, None, password)
    elif not user.check_password(password):
        return None
    return password


def _greeting(host: str, port: str, key: str, password: str | None) -> str:
    address = f"http://{'127.0.0.1' if host in _ANY_ADDRESS else host}:{port}"
    login = f"{ADMIN_NAME} / {password}" if password else f"{ADMIN_NAME} (password changed since)"
    return f"""
  Gateway   {address}/v1      (base URL for an OpenAI client)
  Key       {key}
  Admin     {address}/admin/  {login}

  Try it (Ctrl-C in the middle, then look at the run in the admin):

  curl -N {address}/v1/chat/completions -H "Authorization: Bearer {key}" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "local", "stream": true, "messages": [{{"role": "user", "content": "Tell me a story."}}]}}'

"""


if __name__ == "__main__":
    main()
