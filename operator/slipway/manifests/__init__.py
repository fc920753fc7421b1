"""Pure builders from a plan to Kubernetes objects, one kind a file; called by passes and the CLI."""
