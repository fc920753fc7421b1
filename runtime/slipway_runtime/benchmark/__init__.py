"""How fast the served model is: one file a kind of load. Called by stage.py."""
