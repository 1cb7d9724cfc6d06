"""The data team's tools: quantize, inspect and evaluate model bundles. Nothing here runs on the edge."""
