"""What `latimer doctor` finds: a table of checks, and rules from facts to findings with their cures."""
