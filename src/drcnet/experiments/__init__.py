"""Questions asked of the simulator and of finished classifiers, with the truth at hand."""
