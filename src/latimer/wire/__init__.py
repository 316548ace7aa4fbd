"""The wire: what each API's reference says, as types. No logic."""
