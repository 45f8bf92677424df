"""Predictions to numbers to tables and figures."""
