"""What a scripted upstream knows: the rules it enforces, the replies it can give, the conversations it plays."""
