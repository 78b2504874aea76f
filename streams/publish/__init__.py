"""Results → the world: metrics, Alertmanager, notifiers, HTTP."""
