"""Is a data set right: splits, faults, tables, pictures of what the network sees."""
