"""The train step and all that is compiled with it."""
