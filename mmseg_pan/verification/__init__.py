"""Data set verification: splits, faults, tables, pictures of what the network sees."""
