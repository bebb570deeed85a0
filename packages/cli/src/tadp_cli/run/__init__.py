"""A run's folder: its recipe, records, lock and guard."""
