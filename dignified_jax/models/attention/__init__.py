"""How a token tree is attended, in several forms of the same mathematics."""
