"""Slipway: the control plane that puts language models into production on Kubernetes."""

__version__ = "0.1.0"
