"""Out of distribution: sycophancy (SycophancyEval) and exaggerated safety (XSTest)."""
