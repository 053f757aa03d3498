"""Runs on record: runner, results, tables of the model card, the demo."""
