"""How multipliers move: what is compared with a tolerance, and the rule that answers."""
