"""Foreign tests that cannot pass with our classes, and why, by substitution and test."""

NOT_APPLICABLE: dict[str, dict[str, str]] = {}
