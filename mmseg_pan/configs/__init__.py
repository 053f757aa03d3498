"""What a config says: its types, data sets, class names and pipelines, through wrappers."""
