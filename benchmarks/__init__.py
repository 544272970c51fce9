"""What was measured, and how to measure it again: `python -m benchmarks [NAME ...]` runs all or some of the modules."""
