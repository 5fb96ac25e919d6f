"""The base classifier's votes on noisy copies: made fast, spread over workers, counted, kept."""
