"""Estimation: from counts to a mode, its curvature and its errors."""
