"""The ASGI application: the endpoints in front of Django."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

django_application = get_asgi_application()

from gateway_project.routing import mount  # noqa: E402 (apps must be loaded first)
from gateway_project.transport.nowhere import no_websocket  # noqa: E402

application = mount(ProtocolTypeRouter({"http": django_application, "websocket": no_websocket}), owns="v1/")
