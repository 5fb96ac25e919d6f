"""The noises, one file each, with their theorems."""
