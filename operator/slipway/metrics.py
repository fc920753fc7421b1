"""Prometheus metrics of the operator, under ``slipway_``.

Incremented where things happen, served by ``serve``.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_PASS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

PASS_SECONDS = Histogram(
    "slipway_reconcile_duration_seconds", "Duration of one pass.", ["kind"], buckets=_PASS_BUCKETS
)
PASS_ERRORS = Counter(
    "slipway_reconcile_errors_total", "Passes that ended in an error and are tried again.", ["kind", "error"]
)
QUEUE_DEPTH = Gauge("slipway_queue_depth", "Keys that wait for a worker.")
QUEUE_SECONDS = Histogram(
    "slipway_queue_wait_seconds", "Time from a key's event to its pass.", buckets=_PASS_BUCKETS
)
API_WRITES = Counter("slipway_api_writes_total", "Requests that change something in the cluster.", ["kind"])
WRITE_ERRORS = Counter(
    "slipway_write_errors_total",
    "Writes that were refused or not answered while their pass went on, events among them.",
    ["kind", "error"],
)
WATCH_RESTARTS = Counter(
    "slipway_watch_restarts_total", "Watches that ended before their time.", ["kind", "reason"]
)
CACHED = Gauge("slipway_cached_objects", "Objects in the reflector's cache.", ["kind"])
JOBS_QUEUED = Gauge("slipway_jobs_queued", "Artifacts whose next Job waits for a slot (jobs.maxConcurrent).")
SLOTS_TAKEN = Gauge("slipway_job_slots_taken", "Unfinished Jobs that count against jobs.maxConcurrent.")
LEADER = Gauge("slipway_leader", "1 while this replica leads.")
