"""The planner: pure functions from model facts, node facts and a spec to a decision. No I/O, no clock."""
