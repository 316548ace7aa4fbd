"""Policy: pure decisions on data. Which route, which profile, try again or not."""
