"""General benchmarks, by lm-evaluation-harness driving our decoder."""
