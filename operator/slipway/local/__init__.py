"""A served model for the tools of a laptop: what lies in the folder, which command comes next. Pure.

Called by the CLI's export, which brings the bytes.
"""
