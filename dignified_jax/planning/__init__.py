"""What a run would take, found before anything is allocated or loaded."""
