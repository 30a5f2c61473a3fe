"""``GET /v1/models`` and ``GET /v1/models/{id}``: what the key may use."""

from typing import Any, ClassVar

from gateway_project.agents.registry import registry
from gateway_project.transport import sse
from gateway_project.transport.consumer import GatewayConsumer


class ModelCatalogue(GatewayConsumer):
    """Lists the models, or describes one. Ids may have slashes."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")

    async def respond(self) -> None:
        """Reply with a list object, or a model object (OpenAI API, Models)."""
        assert self.principal is not None
        wanted = self.scope["url_route"]["kwargs"].get("model")
        models = [_model(name, owner) for name, owner in registry().names(self.principal.agents)]
        if wanted is None:
            body: dict[str, Any] = {"object": "list", "data": models}
        else:
            target = registry().resolve(wanted, self.principal.agents)
            body = next((m for m in models if m["id"] == wanted), _model(wanted, target.agent.name))
        await self.connection.reply(200, sse.dumps(body))


def _model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
