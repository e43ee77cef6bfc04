"""Training as a generator of events; stopped and resumed, it ends in the same bytes as uninterrupted."""
