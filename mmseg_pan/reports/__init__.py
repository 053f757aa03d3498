"""The HTML report of a test: numbers, pictures and plots; training logs."""
