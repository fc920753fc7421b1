"""How good an artifact still is: one file a measure. Called by stage.py."""
