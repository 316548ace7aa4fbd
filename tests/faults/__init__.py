"""Every way an upstream can fail, times every dialect; `python docs/generate.py` writes it all down."""
