"""Classifiers, pure torch and scikit-learn; this package imports nothing else of drcnet."""
