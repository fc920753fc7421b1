"""Cluster to Observed: the only reader.

A reflector for every kind, a cache, and frozen snapshots for the pass.
"""
