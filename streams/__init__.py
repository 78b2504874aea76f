"""The flow: decode → aggregate → window → judge → publish."""
