"""What people see in a terminal: streams that do not break, waiting lines, tables."""
