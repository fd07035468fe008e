"""Events: publishers tell subscribers, by subject, through an event server."""
