"""Several processes of one job: how they find each other, fail together, and share work."""
