"""Run folders to one HTML page."""
