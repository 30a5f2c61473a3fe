"""The deployable project's own settings, read from the environment. A shop keeps its own."""

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import django
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on")


def _list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


_NOTICES_LOSS = {
    "connect_timeout": "3",
    "tcp_user_timeout": "5000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
"""Of libpq: a host that has vanished is noticed after some seconds, also while its answer is waited for. The kernel by
itself would wait for hours."""


def _database(url: str) -> dict[str, Any]:
    """``sqlite:///relative/or//absolute/path`` or ``postgres://user:password@host:port/name?option=value``.

    Several hosts stand with commas between, each with its port, as in libpq's own URLs.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        path = unquote(parts.path.removeprefix("/")) or "gateway.sqlite3"
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": BASE_DIR / path,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 10,
                # WAL lets readers read while the journal writes; FULL makes every commit durable.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    if parts.scheme in ("postgres", "postgresql"):
        hosts = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
        ports = [str(host.port or "") for host in hosts]
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.removeprefix("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": ",".join(unquote(host.hostname or "") for host in hosts),
            "PORT": ",".join(ports) if any(ports) else "",
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": _NOTICES_LOSS | dict(parse_qsl(parts.query)),
        }
    raise ImproperlyConfigured(f"DATABASE_URL: unknown scheme {parts.scheme!r}; use sqlite:/// or postgres://.")


def _gateway_config(value: str) -> Any:
    """``GATEWAY_CONFIG``: a Python file that sets ``GATEWAY``, or a dotted path to a dict."""
    if not value.endswith(".py"):
        return import_string(value)
    namespace: dict[str, Any] = {}
    exec(compile(Path(value).read_text(), value, "exec"), namespace)  # noqa: S102 (the operator's own file)
    if "GATEWAY" not in namespace:
        raise ImproperlyConfigured(f"GATEWAY_CONFIG: {value} sets no GATEWAY.")
    return namespace["GATEWAY"]


_NEEDS_NO_SECRET = {"check", "collectstatic", "makemigrations", "migrate"}
"""Commands of ``manage.py`` that sign nothing and serve nobody."""

DEBUG = _flag("DEBUG")
SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    # Only the command itself counts: one of its arguments may have the same name (`createkey check`).
    if not DEBUG and _NEEDS_NO_SECRET.isdisjoint(sys.argv[1:2]):
        raise ImproperlyConfigured("Set SECRET_KEY in the environment. `make run` makes one for a trial.")
    SECRET_KEY = "only-for-debugging-and-checks"  # noqa: S105 (serves only with DEBUG, see above)
ALLOWED_HOSTS = _list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = _list("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "daphne",  # before staticfiles, so that runserver is daphne's
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "gateway_project.runs",
    "gateway_project.access",
    "gateway_project.review",
    "completions",
    "responses",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ROOT_URLCONF = "gateway_project.urls"
ASGI_APPLICATION = "gateway_project.asgi.application"

DATABASES = {"default": _database(os.environ.get("DATABASE_URL", "sqlite:///gateway.sqlite3"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if os.environ.get("REDIS_URL"):
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
        }
    }

_SMTP: dict[str, Any] = {
    "host": os.environ.get("EMAIL_HOST", "localhost"),
    "port": int(os.environ.get("EMAIL_PORT", "25")),
    "username": os.environ.get("EMAIL_HOST_USER", ""),
    "password": os.environ.get("EMAIL_HOST_PASSWORD", ""),
    "use_tls": _flag("EMAIL_USE_TLS"),
}
"""How ``anchorruns --mail`` sends."""
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", "agent-gateway@localhost")
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": _SMTP}}
else:
    EMAIL_HOST, EMAIL_PORT = _SMTP["host"], _SMTP["port"]
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _SMTP["username"], _SMTP["password"]
    EMAIL_USE_TLS = _SMTP["use_tls"]

USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # the admin's files are served from where they are installed: nothing to collect

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"run_id": {"()": "gateway_project.observe.logs.RunIdFilter"}},
    "formatters": {"json": {"()": "gateway_project.observe.logs.JSONFormatter"}},
    "handlers": {
        "gateway": {"class": "gateway_project.observe.logs.TurnHandler", "formatter": "json", "filters": ["run_id"]}
    },
    "loggers": {"gateway": {"handlers": ["gateway"], "level": "INFO", "propagate": False}},
}

if os.environ.get("GATEWAY_CONFIG"):
    GATEWAY = _gateway_config(os.environ["GATEWAY_CONFIG"])
else:
    GATEWAY = {
        "AGENTS": {
            "local": {"BACKEND": "gateway_project.agents.local.LocalAgent"},
            "scripted": {"BACKEND": "gateway_project.agents.scripted.ScriptedAgent"},
        },
        "DEFAULT_AGENT": "local",
        "SPILL_DIR": str(BASE_DIR / ".gateway" / "spill"),
    }
    if os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_KEY"):
        GATEWAY["AGENTS"]["openai"] = {
            "BACKEND": "gateway_project.agents.openai.OpenAIAgent",
            "OPTIONS": {
                "base_url": os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
                "api_key": os.environ.get("OPENAI_API_KEY", ""),
            },
        }
