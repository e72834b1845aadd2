"""Chat templates: programs of strangers, rendered within bounds, and what tokenizers make of it."""
