"""Comparing networks in one run: time, memory, multiply-adds, scaling."""
