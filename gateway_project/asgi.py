"""The ASGI application: the endpoints in front of Django."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

django_application = get_asgi_application()

from gateway_project.routing import mount  # noqa: E402 (apps must be loaded first)

application = mount(django_application)
