"""What a layer is, as mathematical facts."""
