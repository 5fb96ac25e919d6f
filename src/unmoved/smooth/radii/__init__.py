"""From probabilities to radii: by search, and from one norm to another."""
