"""What runs inside Slipway's Jobs and beside its engines; never imports the operator."""

__version__ = "0.1.0"
