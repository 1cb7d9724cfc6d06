"""Benchmarks, one file each: data, split rule, metric, published figures, and what no data reaches."""
