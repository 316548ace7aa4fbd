"""Tools that Anthropic's servers run, decided here and run by `latimer.shell.server_tools` for any model."""
