"""Common corruptions of images: 15 families at five severities, any size and number of channels; and their files."""

from unmoved.evaluate.corruption.families import FAMILIES, SEVERITIES, Family, corrupt
from unmoved.evaluate.corruption.files import Corrupted, read_corrupted

__all__ = ["FAMILIES", "SEVERITIES", "Corrupted", "Family", "corrupt", "read_corrupted"]
