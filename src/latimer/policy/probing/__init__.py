"""What an upstream can do, found out by asking it: the questions, reading the answers, what follows for a profile."""
