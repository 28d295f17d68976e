"""The stand-in for Ollama: its payload and how it is packed; knows nothing of hosts."""
