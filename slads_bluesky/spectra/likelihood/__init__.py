"""The default classifier: the likelihood of the counts under each phase."""
