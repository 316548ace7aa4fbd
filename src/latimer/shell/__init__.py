"""The shell: the only modules that wait, log, read clocks or talk to the network."""
