"""What upstreams say when they refuse or fail, whatever their dialect."""
