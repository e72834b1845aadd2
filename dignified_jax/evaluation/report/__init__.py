"""Reports of scores: one HTML page that needs nothing else, Markdown, and a page of responses."""
