"""Follows what a run is asked and answers, where that is to be kept; a run of the mode ``none`` has nothing of this."""

from gateway_project.execution.content.log import ContentLog, choose_mode, mode_of

__all__ = ["ContentLog", "choose_mode", "mode_of"]
