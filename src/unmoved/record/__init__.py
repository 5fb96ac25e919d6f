"""A certificate, a run and its ledger as bytes."""

from unmoved.record.bundle import write_bundle
from unmoved.record.ledger import Row, Run
from unmoved.record.manifest import SCHEMA, canonical, digest, encode

__all__ = ["SCHEMA", "Row", "Run", "canonical", "digest", "encode", "write_bundle"]
