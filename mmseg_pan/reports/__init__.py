"""A test as a page, its numbers, pictures and plots; training logs."""
