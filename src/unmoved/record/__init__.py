"""A certificate, a run and its ledger as bytes."""

from unmoved.record.bundle import write_bundle
from unmoved.record.ledger import Row, Run
from unmoved.record.manifest import SCHEMA, canonical, digest, encode
from unmoved.record.votes import Voted, read_votes

__all__ = ["SCHEMA", "Row", "Run", "Voted", "canonical", "digest", "encode", "read_votes", "write_bundle"]
