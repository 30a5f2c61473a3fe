"""Images, sounds and files of a request: fetched, bounded and judged by their bytes before an agent sees them."""

from gateway_project.execution.inputs.prepare import prepare

__all__ = ["prepare"]
