"""The engine ``transformers``: an HTTP server for models that no other engine loads.

Run as ``python -m slipway_runtime.serve``. Data goes one way: a body (``bodies``) becomes an ``Ask``, the
engine gives it a slot and a thread, the generator's tokens become pieces of text (``text``), and those an
answer (``answers``). Only ``loading`` and ``model`` know torch; only ``app``, ``routes`` and ``stream`` know
FastAPI.
"""
