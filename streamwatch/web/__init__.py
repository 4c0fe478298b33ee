"""Health, readiness and metrics of a running service, on loopback unless told otherwise."""
