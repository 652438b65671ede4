"""Benchmarks: what Kimi costs through this project, side by side with the frameworks and with its peers."""
