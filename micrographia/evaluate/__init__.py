"""How far to trust a student: metrics, intervals clustered by group, baselines beside them, a report."""
