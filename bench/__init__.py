"""What Latimer costs, beside nginx passing the same bytes through: `python -m bench` from the repository's root."""
