"""Imported by the config of a run in processes of its own."""

from tests.fast_start import start_fast

start_fast()
