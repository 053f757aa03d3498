"""Tests. A package, so that a dependency that installs one named ``tests`` is not found first."""
