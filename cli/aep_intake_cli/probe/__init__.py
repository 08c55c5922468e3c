"""First contact with a real Adobe sandbox: one question for each thing that no document answers."""
