"""Every way an upstream can fail, times every dialect: what the client is told. `python docs/generate.py` writes it down."""
