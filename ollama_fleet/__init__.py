"""From bare GPU hosts to verified Ollama slices."""
