"""A make-believe plant that answers back, and the demo that runs the agent on it."""
