"""What drives a run: launching, hooks, the summary printed at the start."""
