"""Any OpenAI-compatible upstream over HTTP: OpenAI, vLLM, llama.cpp, Ollama, LM Studio, OpenRouter, …"""

from gateway_project.agents.openai.agent import OpenAIAgent

__all__ = ["OpenAIAgent"]
