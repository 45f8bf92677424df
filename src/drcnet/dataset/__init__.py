"""Stripes and labels to what a network can read: store, split, batches."""
