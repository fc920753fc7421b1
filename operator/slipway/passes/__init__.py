"""The two passes, pure: what was observed of one object in, what to write out.

Called by ``reconcile`` alone.
"""
