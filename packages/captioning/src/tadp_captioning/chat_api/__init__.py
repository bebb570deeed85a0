"""Chat models behind an OpenAI-compatible server: requests, answers, cost."""
