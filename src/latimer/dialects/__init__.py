"""Translation between the wire and the hub: pure state machines, bytes in, events out."""
