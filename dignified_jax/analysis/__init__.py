"""Why a model behaves as it does: directions in its residual stream, steering, drift."""
