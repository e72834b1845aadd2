"""What a run is fed with: batches, policy and reference."""
