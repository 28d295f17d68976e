"""A stand-in for the Ollama server: its HTTP contract on simulated GPUs, standard library only.

From the outside in: cli (the command) → serve (start order) → http (transport) → api_* (routes)
→ scheduler (what is loaded) → runner, placement (processes, memory) → devices (the driver).
Beside them: store, manifests, gguf, model (what is on disk) and pull, create (how it gets there).
"""
