"""Table I's other systems, trained small (notebook 08)."""
